"""The faster ways to run LIF neurons, among which :func:`snnkit.nn.functional.lif` chooses."""

import torch
from torch import Tensor

from snnkit.nn.kernels.alif_function import FusedALIF
from snnkit.nn.kernels.coverage import reason_against, surrogate_of
from snnkit.nn.kernels.lif_function import FusedLIF, LIFOptions
from snnkit.nn.lif_sequence import LIFSequence, without_single_synapse
from snnkit.nn.lif_types import LIFDynamics, LIFState, SpikeGeneration

__all__ = [
    "OTHER_SURROGATE",
    "has_known_surrogate",
    "has_single_node",
    "lif_compiled",
    "lif_single_node",
    "reason_against_kernels",
]

OTHER_SURROGATE = "the neurons have a surrogate that is not StepPWL or PeriodicExponential"


def has_known_surrogate(spike: SpikeGeneration) -> bool:
    """Whether the surrogate is one of ours, with numbers for its constants: what the faster ways can do."""
    numbers = not isinstance(spike.window, Tensor) and not isinstance(spike.max_spikes, Tensor)
    return surrogate_of(spike.function) is not None and numbers


def has_single_node(dynamics: LIFDynamics) -> bool:
    """Whether torch's operations can run as one autograd node: a surrogate of ours, and no adaptation."""
    return dynamics.adaptation is None and has_known_surrogate(dynamics.spike)


def reason_against_kernels(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None
) -> str | None:
    """Say why compiled kernels do not cover the call, or None."""
    if not has_known_surrogate(dynamics.spike):
        return OTHER_SURROGATE
    return reason_against(_inputs(data, state, dynamics, noise))


def _inputs(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return the tensors that FusedLIF takes or, with adaptation, FusedALIF."""
    constants = (dynamics.alpha, dynamics.beta, dynamics.bias, dynamics.spike.threshold, dynamics.w_rec)
    if not _adapts(state, dynamics):
        return (data, *state[:3], *constants, noise)
    return (data, *state, *constants, *(dynamics.adaptation or ()), noise)


def _adapts(state: LIFState, dynamics: LIFDynamics) -> bool:
    return dynamics.adaptation is not None and state.iahp is not None


def lif_compiled(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None, record: bool
) -> tuple[Tensor, LIFState, dict[str, Tensor]]:
    """Run the compiled kernels."""
    spike = dynamics.spike
    inputs = _inputs(data, state, dynamics, noise)
    train = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    surrogate = surrogate_of(spike.function)
    options = LIFOptions(surrogate, float(spike.window), float(spike.max_spikes), record, train)
    if not _adapts(state, dynamics):
        spikes, vmem, isyn, *courses = FusedLIF.apply(*inputs, options)
        final = LIFState(vmem, isyn, spikes[:, -1])
    else:
        spikes, vmem, isyn, iahp, *courses = FusedALIF.apply(*inputs, options)
        final = LIFState(vmem, isyn, spikes[:, -1], iahp)
    if not record:
        return spikes, final, {}
    return spikes, final, _record_of_courses(state, dynamics, (spikes, *courses))


def lif_single_node(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None, record: bool
) -> tuple[Tensor, LIFState, dict[str, Tensor]]:
    """Run torch operations within one autograd node."""
    layout = state.isyn.shape[1:]
    currents, isyn, beta = without_single_synapse(data.unflatten(-1, layout), state.isyn, dynamics.beta)
    spike = dynamics.spike
    constants = (dynamics.alpha, beta, dynamics.bias, spike.threshold, dynamics.w_rec)
    surrogate = (surrogate_of(spike.function), spike.window, spike.max_spikes)
    spikes, potentials, charges = LIFSequence.apply(
        currents, state.vmem, isyn, state.spikes, *constants, noise, *surrogate
    )
    charges = charges.view(*spikes.shape[:2], *layout)
    last = potentials[:, -1] - spikes[:, -1] * spike.threshold
    final = LIFState(last, charges[:, -1] * dynamics.beta, spikes[:, -1])
    if not record:
        return spikes, final, {}
    return spikes, final, _record_of_courses(state, dynamics, (spikes, potentials, charges))


def _record_of_courses(
    state: LIFState, dynamics: LIFDynamics, courses: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """Return the record from spikes, potentials before reset, charges before their leak, and iahp if any."""
    spikes, potentials, charges, *iahp = courses
    isyn = charges * dynamics.beta
    irec = torch.zeros_like(isyn)
    if dynamics.w_rec is not None:
        irec = (torch.cat([state.spikes[:, None], spikes[:, :-1]], 1) @ dynamics.w_rec).view_as(isyn)
    vmem = potentials - spikes * dynamics.spike.threshold
    adaptation = dict(zip(("iahp",), iahp, strict=False))
    return {"vmem": vmem, "isyn": isyn, "irec": irec, **adaptation, "spikes": spikes}
