"""Units with a single state: neurons without synapses, and synapses without neurons.

For each the plain loop, which is the reference, and the function that chooses between it and a compiled
kernel. Public names are those of :mod:`snnkit.nn.functional`.
"""

import torch
from torch import Tensor

from snnkit.nn.backend import kernels_wanted, kind_of_kernels
from snnkit.nn.kernels.coverage import reason_against_kind, surrogate_of
from snnkit.nn.kernels.exp_syn_function import FusedExpSyn
from snnkit.nn.kernels.lif_function import LIFOptions
from snnkit.nn.lif_paths import OTHER_SURROGATE, has_known_surrogate, node_of
from snnkit.nn.lif_types import NeuronInputs, SpikeGeneration
from snnkit.nn.single_state_loops import exp_synapse_reference, lif_neuron_reference
from snnkit.utilities.errors import ShapeError

__all__ = ["exp_synapse", "lif_neuron"]


def lif_neuron(
    data: Tensor,
    vmem: Tensor,
    alpha: Tensor,
    bias: Tensor,
    spike: SpikeGeneration,
    *,
    noise: Tensor | None = None,
    record: bool = False,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Run leaky integrate-and-fire neurons without synapses.

    In each step ``vmem = alpha vmem + x + noise + bias``; ``n = spike(vmem)``; ``vmem -= n * threshold``.
    :mod:`snnkit.nn.backend` chooses what runs them; the values are the same.

    Args:
        data: Input ``(B, T, N)``.
        vmem: Membrane potential before the first step, ``(B, N)``.
        alpha: Membrane decay per step, ``(N,)`` or ``()``.
        bias: ``(N,)`` or ``()``.
        spike: Threshold and surrogate.
        noise: ``(B, T, N)`` or None.
        record: Return the course of ``vmem`` (after reset).

    Returns:
        Events ``(B, T, N)``, the last membrane potential, and the record (empty unless asked for).

    Raises:
        ShapeError: the input has no time step.
    """
    drive = _drive(data, noise, vmem)
    inputs = (drive, vmem, alpha, bias, spike.threshold)
    kind = kind_of_kernels(drive)
    reason = reason_against_kind(kind, inputs) if has_known_surrogate(spike) else OTHER_SURROGATE
    if not kernels_wanted(reason, kind):
        return lif_neuron_reference(drive, vmem, alpha, bias, spike, record=record)
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    surrogate = surrogate_of(spike.function)
    options = LIFOptions(
        surrogate, float(spike.window), float(spike.max_spikes), record, train, spike.relative
    )
    given = NeuronInputs(
        drive, vmem, isyn=None, spikes=None, iahp=None, alpha=alpha, beta=None, bias=bias,
        threshold=spike.threshold, w_rec=None, w_ahp=None, gamma=None, noise=None,
    )  # fmt: skip
    spikes, last, _, _, potentials, _, _ = node_of(kind)(*given, options)
    if not record:
        return spikes, last, {}
    return spikes, last, {"vmem": potentials - spikes * spike.threshold, "spikes": spikes}


def exp_synapse(
    data: Tensor, isyn: Tensor, beta: Tensor, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run exponential synapses: ``isyn = (isyn + x + noise) * beta`` in each step.

    :mod:`snnkit.nn.backend` chooses what runs them; the values are the same.

    Args:
        data: Input ``(B, T, N)``.
        isyn: Synaptic current before the first step, ``(B, N)``.
        beta: Decay per step, ``(N,)`` or ``()``.
        noise: ``(B, T, N)`` or None.

    Returns:
        The currents ``(B, T, N)`` after each step, and the last one ``(B, N)``.

    Raises:
        ShapeError: the input has no time step.
    """
    drive = _drive(data, noise, isyn)
    kind = kind_of_kernels(drive)
    if not kernels_wanted(reason_against_kind(kind, (drive, isyn, beta)), kind):
        return exp_synapse_reference(drive, isyn, beta)
    if kind == "triton":
        from snnkit.nn.kernels.triton_exp_syn import TritonExpSyn

        return TritonExpSyn.apply(drive, isyn, beta)
    return FusedExpSyn.apply(drive, isyn, beta)


def _drive(data: Tensor, noise: Tensor | None, state: Tensor) -> Tensor:
    """Return input with noise; boolean and integer events as numbers of the state's type."""
    if not data.shape[1]:
        raise ShapeError(f"The input has no time step (shape {tuple(data.shape)}); give at least one.")
    if not (data.is_floating_point() or data.is_complex()):
        data = data.to(state.dtype)
    return data if noise is None else data + noise
