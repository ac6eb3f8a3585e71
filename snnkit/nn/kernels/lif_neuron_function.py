"""Neurons without synapses over a whole sequence as one autograd node around the compiled kernels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.arrays import array_of, own_gradient, spread, summed_over_batch
from snnkit.nn.kernels.launch import run_kernel
from snnkit.nn.kernels.lif_function import LIFOptions
from snnkit.nn.kernels.plain_run import gradients_with_graph
from snnkit.nn.lif_types import SpikeGeneration
from snnkit.nn.single_state_loops import lif_neuron_reference
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

__all__ = ["FusedLIFNeuron"]


class FusedLIFNeuron(torch.autograd.Function):
    """Leaky integrate-and-fire neurons without synapses over ``(B, T)`` steps.

    ``apply`` takes data ``(B, T, N)``; vmem before the first step ``(B, N)``; alpha, bias and threshold,
    ``(N,)`` or ``()``; options. It returns spikes ``(B, T, N)``, the last vmem, and, to be recorded, the
    potentials before reset ``(B, T, N)``, else None. Gradients may flow into all of them. Kept for the
    backward pass are inputs, spikes and potentials.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        *inputs, options = arguments
        data, vmem, *constants = inputs
        values = data.contiguous()
        alpha, bias, threshold = (spread(tensor, vmem.shape[1:]) for tensor in constants)
        spikes = torch.empty_like(values, memory_format=torch.contiguous_format)
        kept = options.record or options.train
        potentials = values.new_empty(spikes.shape if kept else (0, 0, 0))
        last = vmem.clone(memory_format=torch.contiguous_format)
        arrays = (
            values.detach().numpy(), alpha, bias, threshold, alpha.dtype.type(options.max_spikes),
            last.numpy(), spikes.numpy(), potentials.numpy(),
        )  # fmt: skip
        run_kernel("lif_neuron_kernels", "lif_neuron_forward", data.shape, arrays)
        ctx.options = options
        if options.train:
            ctx.save_for_backward(*inputs, spikes, potentials)
            ctx.set_materialize_grads(False)
        return spikes, last, potentials if options.record else None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        *inputs, spikes, potentials = ctx.saved_tensors
        need = ctx.needs_input_grad[:-1]
        if torch.is_grad_enabled():
            return (*gradients_with_graph(_differentiable(ctx.options), inputs, need, gradients), None)
        return (*_gradients(inputs, need, ctx.options, (spikes, potentials), gradients), None)


def _gradients(
    inputs: list[Tensor],
    need: tuple[bool, ...],
    options: LIFOptions,
    courses: tuple[Tensor, Tensor],
    gradients: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    data, vmem, alpha, _, threshold = inputs
    spikes, potentials = (course.detach().numpy() for course in courses)
    g_spikes, g_vmem, g_potentials = gradients
    dtype = spikes.dtype
    dv = own_gradient(g_vmem, vmem)
    dx = torch.empty(data.shape if need[0] else (0, 0, 0), dtype=data.dtype)
    sums = np.zeros((3, *vmem.shape) if any(need[2:]) else (0, 0, 0), dtype)
    arrays = (
        array_of(vmem, 2, dtype), spikes, potentials,
        spread(alpha, vmem.shape[1:]), spread(threshold, vmem.shape[1:]),
        options.surrogate is PeriodicExponential, dtype.type(options.window), dtype.type(options.max_spikes),
        array_of(g_spikes, 3, dtype), array_of(g_potentials, 3, dtype), dv.numpy(), dx.numpy(), sums,
    )  # fmt: skip
    run_kernel("lif_neuron_kernels", "lif_neuron_backward", data.shape, arrays)
    constants = zip(inputs[2:], need[2:], range(3), strict=True)
    return (
        dx if need[0] else None,
        dv,
        *(summed_over_batch(sums[k], tensor.shape) if wanted else None for tensor, wanted, k in constants),
    )


def _differentiable(options: LIFOptions) -> Any:
    """Return the node's computation on torch's operations, with a graph."""
    function = (PeriodicExponential if options.surrogate is PeriodicExponential else StepPWL).apply

    def run(
        data: Tensor, vmem: Tensor, alpha: Tensor, bias: Tensor, threshold: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        spike = SpikeGeneration(threshold, function, options.window, options.max_spikes)
        spikes, last, record = lif_neuron_reference(data, vmem, alpha, bias, spike, record=True)
        return spikes, last, record["vmem"] + spikes * threshold

    return run
