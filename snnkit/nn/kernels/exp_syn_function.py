"""Exponential synapses over a whole sequence as one autograd node around the compiled kernels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.arrays import array_of, own_gradient, spread, summed_over_batch
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
        values = data.contiguous()
        currents = torch.empty_like(values, memory_format=torch.contiguous_format)
        last = isyn.clone(memory_format=torch.contiguous_format)
        arrays = (values.detach().numpy(), spread(beta, isyn.shape[1:]), last.numpy(), currents.numpy())
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
        dx = torch.empty(data.shape if need_data else (0, 0, 0), dtype=data.dtype)
        decays = spread(beta, isyn.shape[1:])
        d_beta = np.zeros(isyn.shape if need_beta else (0, 0), decays.dtype)
        arrays = (
            array_of(data, 3, decays.dtype), array_of(isyn, 2, decays.dtype), currents.detach().numpy(),
            decays, array_of(g_currents, 3, decays.dtype), dc.numpy(), dx.numpy(), d_beta,
        )  # fmt: skip
        run_kernel("exp_syn_kernels", "exp_syn_backward", data.shape, arrays)
        return (
            dx if need_data else None,
            dc,
            summed_over_batch(d_beta, beta.shape) if need_beta else None,
        )
