"""Exponential synapses over a whole sequence as one autograd node around the compiled kernels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.arrays import flat, own_gradient, spread, summed_over_batch
from snnkit.nn.kernels.launch import run_kernel
from snnkit.nn.kernels.plain_run import gradients_with_graph
from snnkit.nn.single_state_loops import exp_synapse_reference

__all__ = ["FusedExpSyn"]


class FusedExpSyn(torch.autograd.Function):
    """Exponential synapses over ``(B, T)`` steps.

    ``apply`` takes data ``(B, T, N)``, the currents before the first step ``(B, N)`` and beta, ``(N,)`` or
    ``()``; it returns the currents ``(B, T, N)`` and the last of them ``(B, N)``. Kept for the backward pass
    are inputs and currents.
    """

    @staticmethod
    def forward(ctx: Any, data: Tensor, isyn: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """Run the kernel."""
        currents = torch.empty_like(data, memory_format=torch.contiguous_format)
        last = isyn.clone(memory_format=torch.contiguous_format)
        decays = spread(beta, isyn.shape[1:])
        arrays = (
            flat(data, decays.dtype), tuple(data.shape[1:]), decays,
            flat(last, decays.dtype), flat(currents, decays.dtype),
        )  # fmt: skip
        run_kernel("exp_syn_kernels", "exp_syn_forward", data.shape, arrays)
        ctx.save_for_backward(data, isyn, beta, currents)
        ctx.set_materialize_grads(False)
        return currents, last

    @staticmethod
    def backward(ctx: Any, g_currents: Tensor | None, g_last: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        data, isyn, beta, currents = ctx.saved_tensors
        need_data, _, need_beta = need = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return gradients_with_graph(exp_synapse_reference, (data, isyn, beta), need, (g_currents, g_last))
        dc = own_gradient(g_last, isyn)
        dx = data.new_empty(data.shape if need_data else 0)
        decays = spread(beta, isyn.shape[1:])
        d_beta = np.empty(isyn.shape if need_beta else 0, decays.dtype)
        tensors = (data, isyn, currents, g_currents, dc, dx)
        x, start, course, g, ends, gradient = (flat(tensor, decays.dtype) for tensor in tensors)
        arrays = (x, tuple(data.shape[1:]), start, course, decays, g, ends, gradient, d_beta.reshape(-1))
        run_kernel("exp_syn_kernels", "exp_syn_backward", data.shape, arrays)
        return (
            dx if need_data else None,
            dc,
            summed_over_batch(d_beta, beta.shape) if need_beta else None,
        )
