"""LIF neurons over a whole sequence as one autograd node around the compiled kernels."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.arrays import (
    flat,
    of_first_events,
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

SUMMED = ("alpha", "bias", "threshold", "w_ahp", "gamma")
"""The constants with one number for each neuron, in the kernel's order of their sums."""


class LIFOptions(NamedTuple):
    """What is not a tensor.

    Attributes:
        surrogate: StepPWL or PeriodicExponential.
        window: width of the surrogate.
        max_spikes: most events of a neuron in one step.
        record: return potentials, charges and currents of adaptation.
        train: a backward pass may follow.
        relative: whether the window is in units of the threshold.
    """

    surrogate: type | None
    window: float
    max_spikes: float
    record: bool
    train: bool
    relative: bool = False


class FusedLIF(torch.autograd.Function):
    """Leaky integrate-and-fire neurons over ``(B, T)`` steps, with synapses and adaptation or without.

    ``apply`` takes the tensors of :class:`NeuronInputs` and options; isyn, beta and spikes are None together
    for neurons without synapses, as are iahp, w_ahp and gamma for those without adaptation. It returns spikes
    ``(B, T, N)``, the last vmem, isyn and iahp, and, to be recorded, potentials before reset ``(B, T, N)``,
    charges before their leak ``(B, T, N, S)`` and iahp ``(B, T, N)``; None for what is not recorded and for
    what the neurons don't have. Gradients may flow into all of them. Kept for the backward pass are the
    inputs, the states of one step in ``SPAN``, and the spikes if there is recurrence; all else is computed
    anew.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        inputs, options = NeuronInputs._make(arguments[:-1]), arguments[-1]
        data, constants = inputs.data, _constants(inputs)
        dtype, (batch, steps, _) = constants[0].dtype, data.shape
        neurons, synapses = _layout(inputs)
        adapts = inputs.iahp is not None
        spikes = data.new_empty(batch, steps, neurons)
        courses = (
            data.new_empty(spikes.shape) if options.record else None,
            data.new_empty(batch, steps, neurons, synapses) if options.record and synapses else None,
            data.new_empty(spikes.shape) if options.record and adapts else None,
        )
        marks = -(-steps // SPAN) if options.train else 0
        widths = (neurons, neurons * synapses, neurons * adapts, neurons * adapts)
        kept = [data.new_empty(batch, marks, width) for width in widths]
        last = [
            None if state is None else state.clone(memory_format=torch.contiguous_format)
            for state in (inputs.vmem, inputs.isyn, inputs.iahp)
        ]
        arrays = (
            flat(data, dtype), (steps, neurons, synapses), (1,) * adapts, flat(inputs.noise, dtype),
            flat(inputs.spikes, dtype), *constants, dtype.type(options.max_spikes),
            *(flat(tensor, dtype) for tensor in (*last, spikes, *courses, *kept)),
        )  # fmt: skip
        run_kernel("lif_kernels", "lif_forward", _division(inputs), arrays)
        if options.train:
            ctx.options, ctx.constants = options, constants
            ctx.save_for_backward(*inputs, *kept, None if inputs.w_rec is None else spikes)
            ctx.set_materialize_grads(False)
        return spikes, *last, *courses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        *tensors, spikes = ctx.saved_tensors
        inputs, marks = NeuronInputs._make(tensors[: len(NeuronInputs._fields)]), tensors[-4:]
        need = NeuronInputs._make(ctx.needs_input_grad[:-1])
        if torch.is_grad_enabled():
            # Imported here as it builds on the functions that use this node.
            from snnkit.nn.kernels.plain_run import gradients_with_graph, plain_run

            return (*gradients_with_graph(plain_run(ctx.options), inputs, need, gradients), None)
        return (*_gradients(inputs, need, ctx, (spikes, *marks), gradients), None)


def _layout(inputs: NeuronInputs) -> tuple[int, int]:
    """Return how many neurons there are, and synapses of each."""
    return inputs.vmem.shape[1], 0 if inputs.isyn is None else inputs.isyn.shape[2]


def _constants(inputs: NeuronInputs) -> tuple[np.ndarray, ...]:
    """Return the constants in the kernels' order, one number for each neuron or channel, and w_rec."""
    neurons, synapses = _layout(inputs)
    alpha, bias, threshold = (spread(getattr(inputs, name), (neurons,)) for name in SUMMED[:3])
    dtype = alpha.dtype
    beta = spread(inputs.beta, (neurons, synapses)).reshape(-1) if synapses else np.empty(0, dtype)
    w_ahp, gamma = (
        np.empty(0, dtype) if tensor is None else spread(tensor, (neurons,))
        for tensor in (inputs.w_ahp, inputs.gamma)
    )
    return alpha, beta, bias, threshold, flat(inputs.w_rec, dtype), w_ahp, gamma


def _division(inputs: NeuronInputs) -> tuple[int, int, int]:
    """Return parts, steps, and numbers of a part in one step: what the kernels divide the work into."""
    batch, steps, channels = inputs.data.shape
    parts = batch if inputs.w_rec is not None else batch * -(-inputs.vmem.shape[1] // WIDTH)
    return parts, steps, batch * channels // max(parts, 1)


def _gradients(
    inputs: NeuronInputs,
    need: NeuronInputs,
    ctx: Any,
    kept: tuple[Tensor | None, ...],
    gradients: tuple[Tensor | None, ...],
) -> NeuronInputs:
    # The saved tensors were read, which refuses constants that were changed meanwhile: these are the same.
    options, constants = ctx.options, ctx.constants
    dtype, (batch, steps, channels) = constants[0].dtype, inputs.data.shape
    g_spikes, g_vmem, g_isyn, g_iahp, *g_courses = gradients
    pairs = ((g_vmem, inputs.vmem), (g_isyn, inputs.isyn), (g_iahp, inputs.iahp))
    dv, dc, dq = (None if state is None else own_gradient(g, state) for g, state in pairs)
    summed = [name for name in SUMMED if getattr(need, name)]
    dx = inputs.data.new_empty(inputs.data.shape if need.data or need.w_rec else 0)
    du = dx.new_empty((batch, steps, inputs.vmem.shape[1]) if need.noise else 0)
    sums = np.empty((len(SUMMED), *inputs.vmem.shape) if summed else 0, dtype)
    d_beta = np.empty((batch, channels) if need.beta else 0, dtype)
    arrays = (
        flat(inputs.data, dtype), (steps, *_layout(inputs)), (1,) * (dq is not None),
        flat(inputs.noise, dtype), flat(inputs.spikes, dtype), *constants, dtype.type(options.max_spikes),
        dtype.type(options.window), options.relative, options.surrogate is PeriodicExponential,
        *(flat(tensor, dtype) for tensor in (*kept, g_spikes, *g_courses)),
        *(flat(tensor, dtype) for tensor in (dv, dc, dq, dx, du)), sums.reshape(-1), d_beta.reshape(-1),
    )  # fmt: skip
    run_kernel("lif_kernels", "lif_backward", _division(inputs), arrays)
    found: dict[str, Tensor | None] = dict.fromkeys(NeuronInputs._fields)
    for name in summed:
        found[name] = summed_over_batch(sums[SUMMED.index(name)], getattr(inputs, name).shape)
    if need.beta:
        found["beta"] = summed_over_batch(d_beta.reshape(inputs.isyn.shape), inputs.beta.shape)
    found |= {"vmem": dv, "isyn": dc, "iahp": dq}
    found |= {"data": dx if need.data else None, "noise": du if need.noise else None}
    if need.spikes:
        found["spikes"] = of_first_events(inputs, dc, dq)
    if kept[0] is not None and need.w_rec:
        found["w_rec"] = of_recurrent_weights(inputs.spikes, kept[0], dx)
    return NeuronInputs(**found)
