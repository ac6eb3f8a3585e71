"""Adaptive LIF neurons over a whole sequence as one autograd node around the compiled kernels."""

from typing import Any

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
from snnkit.nn.kernels.lif_function import LIFOptions
from snnkit.nn.kernels.plain_run import gradients_with_graph, plain_run
from snnkit.nn.lif_types import NeuronInputs
from snnkit.nn.surrogates import PeriodicExponential

__all__ = ["FusedALIF"]

SUMMED = ("alpha", "bias", "threshold", "w_ahp", "gamma")
"""The constants with one number for each neuron, in the kernel's order of their sums."""


def _by_neuron(inputs: NeuronInputs, name: str) -> np.ndarray:
    return spread(getattr(inputs, name), inputs.vmem.shape[1:])


def _decays(inputs: NeuronInputs) -> np.ndarray:
    """Return beta, one number for each channel."""
    return spread(inputs.beta, inputs.isyn.shape[1:]).reshape(-1)


class FusedALIF(torch.autograd.Function):
    """Adaptive leaky integrate-and-fire neurons over ``(B, T)`` steps.

    ``apply`` takes the tensors of :class:`NeuronInputs`, of which w_rec and noise may be None, and options.

    It returns spikes ``(B, T, N)``, the last vmem, isyn and iahp, and, to be recorded, potentials before
    reset ``(B, T, N)``, charges before their leak ``(B, T, N, S)`` and iahp ``(B, T, N)``, else None for
    those three. Gradients may flow into all of them. Kept for the backward pass are inputs, spikes and
    potentials; currents are computed anew, unless there is recurrence.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        inputs, options = NeuronInputs._make(arguments[:-1]), arguments[-1]
        data, beta = inputs.data.contiguous(), _decays(inputs)
        dtype, (batch, steps, _) = beta.dtype, data.shape
        spikes = data.new_empty(batch, steps, inputs.vmem.shape[1])
        kept, empty = options.record or options.train, (0, 0, 0)
        potentials = data.new_empty(spikes.shape if kept else empty)
        charged = options.record or (options.train and inputs.w_rec is not None and ctx.needs_input_grad[6])
        charges = data.new_empty(data.shape if charged else empty)
        adaptations = data.new_empty(spikes.shape if options.record else empty)
        last = [
            state.clone(memory_format=torch.contiguous_format)
            for state in (inputs.vmem, inputs.isyn, inputs.iahp)
        ]
        arrays = (
            array_of(data, 3, dtype), array_of(inputs.noise, 3, dtype), array_of(inputs.spikes, 2, dtype),
            _by_neuron(inputs, "alpha"), beta, _by_neuron(inputs, "bias"), _by_neuron(inputs, "threshold"),
            array_of(inputs.w_rec, 2, dtype), _by_neuron(inputs, "w_ahp"), _by_neuron(inputs, "gamma"),
            dtype.type(options.max_spikes), *(state.numpy().reshape(batch, -1) for state in last),
            spikes.numpy(), potentials.numpy(), charges.numpy(), adaptations.numpy(),
        )  # fmt: skip
        run_kernel("alif_kernels", "alif_forward", data.shape, arrays)
        ctx.options = options
        if options.train:
            ctx.save_for_backward(*inputs, spikes, potentials, charges if charged else None)
            ctx.set_materialize_grads(False)
        if not options.record:
            return spikes, *last, None, None, None
        return spikes, *last, potentials, charges.view(batch, steps, *inputs.isyn.shape[1:]), adaptations

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        *kept, spikes, potentials, charges = ctx.saved_tensors
        inputs, need = NeuronInputs._make(kept), NeuronInputs._make(ctx.needs_input_grad[:-1])
        if torch.is_grad_enabled():
            return (*gradients_with_graph(plain_run(ctx.options), inputs, need, gradients), None)
        return (*_gradients(inputs, need, ctx.options, (spikes, potentials, charges), gradients), None)


def _gradients(
    inputs: NeuronInputs,
    need: NeuronInputs,
    options: LIFOptions,
    courses: tuple[Tensor, Tensor, Tensor | None],
    gradients: tuple[Tensor | None, ...],
) -> NeuronInputs:
    spikes, potentials, charges = courses
    beta = _decays(inputs)
    dtype, (batch, _, channels) = beta.dtype, inputs.data.shape
    g_spikes, g_vmem, g_isyn, g_iahp, g_potentials, g_charges, g_adaptations = gradients
    dv, dc, dq = (
        own_gradient(g, state)
        for g, state in ((g_vmem, inputs.vmem), (g_isyn, inputs.isyn), (g_iahp, inputs.iahp))
    )
    flat = (g_charges, charges)
    g_charges, charges = (None if c is None else c.reshape(inputs.data.shape) for c in flat)
    dx = torch.empty(inputs.data.shape if need.data or need.w_rec else (0, 0, 0), dtype=dv.dtype)
    du = torch.empty(spikes.shape if need.noise else (0, 0, 0), dtype=dv.dtype)
    summed = [name for name in SUMMED if getattr(need, name)]
    sums = np.zeros((len(SUMMED), *inputs.vmem.shape) if summed else (0, 0, 0), dtype)
    d_beta = np.zeros((batch, channels) if need.beta else (0, 0), dtype)
    arrays = (
        array_of(inputs.data, 3, dtype), array_of(inputs.spikes, 2, dtype),
        array_of(inputs.isyn, 3, dtype).reshape(batch, channels), array_of(inputs.vmem, 2, dtype),
        array_of(inputs.iahp, 2, dtype), spikes.detach().numpy(), potentials.detach().numpy(),
        array_of(charges, 3, dtype), _by_neuron(inputs, "alpha"), beta, _by_neuron(inputs, "threshold"),
        array_of(inputs.w_rec, 2, dtype), _by_neuron(inputs, "w_ahp"), _by_neuron(inputs, "gamma"),
        options.surrogate is PeriodicExponential, dtype.type(options.window), dtype.type(options.max_spikes),
        array_of(g_spikes, 3, dtype), array_of(g_potentials, 3, dtype), array_of(g_charges, 3, dtype),
        array_of(g_adaptations, 3, dtype), dv.numpy(), dc.numpy().reshape(batch, channels), dq.numpy(),
        dx.numpy(), du.numpy(), sums, d_beta,
    )  # fmt: skip
    run_kernel("alif_kernels", "alif_backward", inputs.data.shape, arrays)
    found = dict.fromkeys(SUMMED) | {
        name: summed_over_batch(sums[SUMMED.index(name)], getattr(inputs, name).shape) for name in summed
    }
    found["beta"] = None
    if need.beta:
        found["beta"] = summed_over_batch(d_beta.reshape(inputs.isyn.shape), inputs.beta.shape)
    return NeuronInputs(
        data=dx if need.data else None,
        vmem=dv,
        isyn=dc,
        spikes=_of_first_events(inputs, dc, dq) if need.spikes else None,
        iahp=dq,
        **found,
        w_rec=of_recurrent_weights(inputs.spikes, spikes, dx) if need.w_rec else None,
        noise=du if need.noise else None,
    )


def _of_first_events(inputs: NeuronInputs, dc: Tensor, dq: Tensor) -> Tensor:
    """Return the gradient of the events before the first step from those of isyn and iahp."""
    found = dq * inputs.w_ahp
    return found if inputs.w_rec is None else found + dc.flatten(1) @ inputs.w_rec.T
