"""The faster ways to run LIF neurons, among which :func:`snnkit.nn.functional.lif` chooses."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.backend import kernels_wanted, kind_of_kernels
from snnkit.nn.kernels.coverage import reason_against_kind, surrogate_of
from snnkit.nn.kernels.lif_function import FusedLIF, LIFOptions
from snnkit.nn.lif_sequence import LIFSequence, without_single_synapse
from snnkit.nn.lif_types import LIFDynamics, LIFState, NeuronInputs, SpikeGeneration

__all__ = [
    "OTHER_SURROGATE",
    "has_known_surrogate",
    "has_single_node",
    "kernels_for",
    "lif_compiled",
    "lif_single_node",
    "node_of",
]

OTHER_SURROGATE = "the neurons have a surrogate that is not StepPWL or PeriodicExponential"


def has_known_surrogate(spike: SpikeGeneration) -> bool:
    """Whether the surrogate is one of ours, with numbers for its constants: what the faster ways can do."""
    numbers = not isinstance(spike.window, Tensor) and not isinstance(spike.max_spikes, Tensor)
    return surrogate_of(spike.function) is not None and numbers


def has_single_node(dynamics: LIFDynamics) -> bool:
    """Whether torch's operations can run as one autograd node: a surrogate of ours, and no adaptation."""
    return dynamics.adaptation is None and has_known_surrogate(dynamics.spike)


def kernels_for(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None
) -> Callable[..., Any] | None:
    """Return what runs the call on compiled kernels, from :class:`NeuronInputs` and options; None for torch.

    Raises:
        BackendError: the kernels that were asked for do not cover the call.
    """
    inputs = _inputs(data, state, dynamics, noise)
    kind = kind_of_kernels(data)
    known = has_known_surrogate(dynamics.spike)
    reason = reason_against_kind(kind, inputs, inputs.w_rec) if known else OTHER_SURROGATE
    return node_of(kind) if kernels_wanted(reason, kind) else None


def node_of(kind: str) -> Callable[..., Any]:
    """Return the autograd node around kernels of a kind, numba or triton: see :class:`FusedLIF`."""
    if kind == "triton":
        from snnkit.nn.kernels.triton_function import TritonLIF

        return TritonLIF.apply
    return FusedLIF.apply


def _inputs(data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None) -> NeuronInputs:
    """Return the tensors of a call; adaptation needs constants and a state."""
    adapts = dynamics.adaptation is not None and state.iahp is not None
    w_ahp, gamma = dynamics.adaptation if adapts and dynamics.adaptation else (None, None)
    constants = (dynamics.alpha, dynamics.beta, dynamics.bias, dynamics.spike.threshold, dynamics.w_rec)
    iahp = state.iahp if adapts else None
    return NeuronInputs(data, *state[:3], iahp, *constants, w_ahp, gamma, noise)


def lif_compiled(
    run: Callable[..., Any],
    data: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    noise: Tensor | None,
    *,
    record: bool,
) -> tuple[Tensor, LIFState, dict[str, Tensor]]:
    """Run compiled kernels: those that :func:`kernels_for` returned."""
    spike, inputs = dynamics.spike, _inputs(data, state, dynamics, noise)
    train = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    surrogate = surrogate_of(spike.function)
    options = LIFOptions(
        surrogate, float(spike.window), float(spike.max_spikes), record, train, spike.relative
    )
    spikes, vmem, isyn, iahp, potentials, charges, adaptations = run(*inputs, options)
    final = LIFState(vmem, isyn, spikes[:, -1], iahp)
    if not record:
        return spikes, final, {}
    return spikes, final, _record_of_courses(state, dynamics, spikes, potentials, charges, iahp=adaptations)


def lif_single_node(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None, record: bool
) -> tuple[Tensor, LIFState, dict[str, Tensor]]:
    """Run torch operations within one autograd node."""
    layout = state.isyn.shape[1:]
    currents, isyn, beta = without_single_synapse(data.unflatten(-1, layout), state.isyn, dynamics.beta)
    spike = dynamics.spike
    constants = (dynamics.alpha, beta, dynamics.bias, spike.threshold, dynamics.w_rec)
    surrogate = (surrogate_of(spike.function), spike.window, spike.max_spikes, spike.relative)
    spikes, potentials, charges = LIFSequence.apply(
        currents, state.vmem, isyn, state.spikes, *constants, noise, *surrogate
    )
    charges = charges.view(*spikes.shape[:2], *layout)
    last = potentials[:, -1] - spikes[:, -1] * spike.threshold
    final = LIFState(last, charges[:, -1] * dynamics.beta, spikes[:, -1])
    if not record:
        return spikes, final, {}
    return spikes, final, _record_of_courses(state, dynamics, spikes, potentials, charges)


def _record_of_courses(
    state: LIFState,
    dynamics: LIFDynamics,
    spikes: Tensor,
    potentials: Tensor,
    charges: Tensor,
    *,
    iahp: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the record from spikes, potentials before reset, charges before their leak, and iahp."""
    isyn = charges * dynamics.beta
    irec = torch.zeros_like(isyn)
    if dynamics.w_rec is not None:
        irec = (torch.cat([state.spikes[:, None], spikes[:, :-1]], 1) @ dynamics.w_rec).view_as(isyn)
    vmem = potentials - spikes * dynamics.spike.threshold
    adaptation = {} if iahp is None else {"iahp": iahp}
    return {"vmem": vmem, "isyn": isyn, "irec": irec, **adaptation, "spikes": spikes}
