"""The faster ways to run LIF neurons, among which :func:`snnkit.nn.functional.lif` chooses."""

import torch
from torch import Tensor

from snnkit.nn.kernels.coverage import reason_against, surrogate_of
from snnkit.nn.kernels.lif_function import FusedLIF, LIFOptions
from snnkit.nn.lif_sequence import LIFSequence, without_single_synapse
from snnkit.nn.lif_types import LIFDynamics, LIFState

__all__ = ["has_known_surrogate", "lif_compiled", "lif_single_node", "reason_against_kernels"]


def has_known_surrogate(dynamics: LIFDynamics) -> bool:
    """Whether surrogate and dynamics are those of the faster ways: ours, and no adaptation."""
    spike = dynamics.spike
    numbers = not isinstance(spike.window, Tensor) and not isinstance(spike.max_spikes, Tensor)
    return dynamics.adaptation is None and surrogate_of(spike.function) is not None and numbers


def reason_against_kernels(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None
) -> str | None:
    """Say why compiled kernels do not cover the call, or None."""
    if not has_known_surrogate(dynamics):
        return "the neurons have adaptation, or a surrogate that is not StepPWL or PeriodicExponential"
    constants = (dynamics.alpha, dynamics.beta, dynamics.bias, dynamics.spike.threshold, dynamics.w_rec)
    return reason_against((data, *state[:3], *constants, noise))


def lif_compiled(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None, record: bool
) -> tuple[Tensor, LIFState, dict[str, Tensor]]:
    """Run the compiled kernels."""
    spike, w_rec = dynamics.spike, dynamics.w_rec
    inputs = (data, *state[:3], dynamics.alpha, dynamics.beta, dynamics.bias, spike.threshold, w_rec, noise)
    train = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    surrogate = surrogate_of(spike.function)
    options = LIFOptions(surrogate, float(spike.window), float(spike.max_spikes), record, train)
    spikes, vmem, isyn, potentials, charges = FusedLIF.apply(*inputs, options)
    final = LIFState(vmem, isyn, spikes[:, -1])
    if not record:
        return spikes, final, {}
    return spikes, final, _record_of_courses(state, dynamics, (spikes, potentials, charges))


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
    state: LIFState, dynamics: LIFDynamics, courses: tuple[Tensor, Tensor, Tensor]
) -> dict[str, Tensor]:
    """Return the record from spikes, potentials before reset and charges before their leak."""
    spikes, potentials, charges = courses
    isyn = charges * dynamics.beta
    irec = torch.zeros_like(isyn)
    if dynamics.w_rec is not None:
        irec = (torch.cat([state.spikes[:, None], spikes[:, :-1]], 1) @ dynamics.w_rec).view_as(isyn)
    vmem = potentials - spikes * dynamics.spike.threshold
    return {"vmem": vmem, "isyn": isyn, "irec": irec, "spikes": spikes}
