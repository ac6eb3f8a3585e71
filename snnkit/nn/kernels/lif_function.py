"""LIF neurons over a whole sequence as one autograd node around the compiled kernels."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.arrays import (
    array_of,
    of_recurrent_weights,
    own_gradient,
    spread,
    summed_over_batch,
)
from snnkit.nn.kernels.launch import run_kernel
from snnkit.nn.kernels.spans import SPAN, WIDTH
from snnkit.nn.lif_types import NeuronInputs
from snnkit.nn.surrogates import PeriodicExponential

__all__ = ["FusedLIF", "LIFOptions"]

SUMMED = ("alpha", "bias", "threshold")
"""The constants with one number for each neuron, in the kernel's order of their sums."""


class LIFOptions(NamedTuple):
    """What is not a tensor.

    Attributes:
        surrogate: StepPWL or PeriodicExponential.
        window: width of the surrogate.
        max_spikes: most events of a neuron in one step.
        record: return potentials and charges.
        train: a backward pass may follow.
    """

    surrogate: type | None
    window: float
    max_spikes: float
    record: bool
    train: bool


class FusedLIF(torch.autograd.Function):
    """Leaky integrate-and-fire neurons over ``(B, T)`` steps.

    ``apply`` takes the tensors of :class:`NeuronInputs`, of which w_rec and noise may be None and those of
    adaptation are, and options.

    It returns spikes ``(B, T, N)``, the last vmem and isyn, None, and, to be recorded, potentials before
    reset ``(B, T, N)`` and charges before their leak ``(B, T, N, S)``, else None for those two, and None.
    Gradients may flow into all of them. Kept for the backward pass are the inputs, vmem and isyn of one step
    in ``SPAN``, and the spikes if there is recurrence; all else is computed anew.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        inputs, options = NeuronInputs._make(arguments[:-1]), arguments[-1]
        data, constants = inputs.data, _constants(inputs)
        dtype, (batch, steps, channels) = constants[0].dtype, data.shape
        neurons, synapses = inputs.isyn.shape[1:]
        spikes = data.new_empty(batch, steps, neurons)
        potentials = data.new_empty(spikes.shape if options.record else 0)
        charges = data.new_empty(data.shape if options.record else 0)
        marks = -(-steps // SPAN) if options.train else 0
        kept = (data.new_empty(batch, marks, neurons), data.new_empty(batch, marks, channels))
        vmem = inputs.vmem.clone(memory_format=torch.contiguous_format)
        isyn = inputs.isyn.clone(memory_format=torch.contiguous_format)
        arrays = (
            _flat(data, dtype), (steps, neurons, synapses), _flat(inputs.noise, dtype),
            _flat(inputs.spikes, dtype), *constants, dtype.type(options.max_spikes),
            *(_flat(tensor, dtype) for tensor in (vmem, isyn, spikes, potentials, charges, *kept)),
        )  # fmt: skip
        run_kernel("lif_kernels", "lif_forward", _division(inputs), arrays)
        ctx.options = options
        if options.train:
            ctx.save_for_backward(*inputs, *kept, None if inputs.w_rec is None else spikes)
            ctx.set_materialize_grads(False)
        if not options.record:
            return spikes, vmem, isyn, None, None, None, None
        return spikes, vmem, isyn, None, potentials, charges.view(batch, steps, neurons, synapses), None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        *tensors, vmem_marks, isyn_marks, spikes = ctx.saved_tensors
        inputs = NeuronInputs._make(tensors)
        need = NeuronInputs._make(ctx.needs_input_grad[:-1])
        if torch.is_grad_enabled():
            # Imported here as it builds on the functions that use this node.
            from snnkit.nn.kernels.plain_run import gradients_with_graph, plain_run

            return (*gradients_with_graph(plain_run(ctx.options), inputs, need, gradients), None)
        kept = (spikes, vmem_marks, isyn_marks)
        return (*_gradients(inputs, need, ctx.options, kept, gradients), None)


def _flat(tensor: Tensor | None, dtype: np.dtype) -> np.ndarray:
    """Return the numbers of the tensor, in its own memory where they lie in order; none for None."""
    return array_of(tensor, 1, dtype).reshape(-1)


def _constants(inputs: NeuronInputs) -> tuple[np.ndarray, ...]:
    """Return alpha, beta, bias, threshold, one number for each neuron or channel, and w_rec."""
    layout = inputs.isyn.shape[1:]
    alpha, bias, threshold = (spread(getattr(inputs, name), layout[:1]) for name in SUMMED)
    beta = spread(inputs.beta, layout).reshape(-1)
    return alpha, beta, bias, threshold, _flat(inputs.w_rec, beta.dtype)


def _division(inputs: NeuronInputs) -> tuple[int, int, int]:
    """Return parts, steps, and numbers of a part in one step: what the kernels divide the work into."""
    batch, steps, channels = inputs.data.shape
    parts = batch if inputs.w_rec is not None else batch * -(-inputs.vmem.shape[1] // WIDTH)
    return parts, steps, batch * channels // parts


def _gradients(
    inputs: NeuronInputs,
    need: NeuronInputs,
    options: LIFOptions,
    kept: tuple[Tensor | None, ...],
    gradients: tuple[Tensor | None, ...],
) -> NeuronInputs:
    constants = _constants(inputs)
    dtype, (batch, steps, channels) = constants[0].dtype, inputs.data.shape
    g_spikes, g_vmem, g_isyn, _, g_potentials, g_charges, _ = gradients
    dv, dc = own_gradient(g_vmem, inputs.vmem), own_gradient(g_isyn, inputs.isyn)
    dx = torch.empty(inputs.data.shape if need.data or need.w_rec else 0, dtype=dv.dtype)
    du = torch.empty((batch, steps, dv.shape[1]) if need.noise else 0, dtype=dv.dtype)
    sums = np.empty((3, *dv.shape) if any(getattr(need, name) for name in SUMMED) else 0, dtype)
    d_beta = np.empty((batch, channels) if need.beta else 0, dtype)
    arrays = (
        _flat(inputs.data, dtype), (steps, *dc.shape[1:]), _flat(inputs.noise, dtype),
        _flat(inputs.spikes, dtype), *constants, dtype.type(options.max_spikes),
        dtype.type(options.window), options.surrogate is PeriodicExponential,
        *(_flat(tensor, dtype) for tensor in (*kept, g_spikes, g_potentials, g_charges)),
        *(_flat(tensor, dtype) for tensor in (dv, dc, dx, du)), sums.reshape(-1), d_beta.reshape(-1),
    )  # fmt: skip
    run_kernel("lif_kernels", "lif_backward", _division(inputs), arrays)
    found = dict.fromkeys(NeuronInputs._fields)
    for k, name in enumerate(SUMMED):
        if getattr(need, name):
            found[name] = summed_over_batch(sums[k], getattr(inputs, name).shape)
    if need.beta:
        found["beta"] = summed_over_batch(d_beta.reshape(inputs.isyn.shape), inputs.beta.shape)
    found |= {"data": dx if need.data else None, "vmem": dv, "isyn": dc, "noise": du if need.noise else None}
    if inputs.w_rec is not None and need.spikes:
        found["spikes"] = dc.reshape(batch, channels) @ inputs.w_rec.T
    if kept[0] is not None and need.w_rec:
        found["w_rec"] = of_recurrent_weights(inputs.spikes, kept[0], dx)
    return NeuronInputs(**found)
