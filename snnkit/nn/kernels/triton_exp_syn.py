"""Exponential synapses over a whole sequence as one autograd node around Triton's kernels; imports Triton."""

from typing import Any

import torch
from torch import Tensor

from snnkit.nn.kernels.plain_run import gradients_with_graph
from snnkit.nn.kernels.triton_launch import Blocks, launch
from snnkit.nn.kernels.triton_leak import leaky_sum, leaky_sum_adjoint
from snnkit.nn.single_state_loops import exp_synapse_reference

__all__ = ["TritonExpSyn"]


class TritonExpSyn(torch.autograd.Function):
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
        batch, steps, channels = data.shape
        blocks = Blocks.of(channels, 1, recurrent=False)
        launch(
            leaky_sum, (batch, blocks.programs),
            data.contiguous(), beta.expand(channels).contiguous(), last, None, currents, steps, channels,
            KEEP_CHARGES=False, KEEP_CURRENTS=True, BLOCK=blocks.neurons, STAGES=blocks.stages,
            warps=blocks.warps, exact=True,
        )  # fmt: skip
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
        ends = torch.zeros_like(isyn) if g_last is None else g_last
        dc = ends.clone(memory_format=torch.contiguous_format)
        dx = torch.empty_like(currents) if need_data else None
        d_beta = torch.empty_like(dc) if need_beta else None
        batch, steps, channels = data.shape
        blocks = Blocks.of(channels, 1, recurrent=False)
        launch(
            leaky_sum_adjoint, (batch, blocks.programs),
            data.contiguous(), isyn.contiguous(), currents, beta.expand(channels).contiguous(),
            None if g_currents is None else g_currents.contiguous(), dc, dx, d_beta, steps, channels,
            G=g_currents is not None, WRITE_DX=need_data, SUMS=need_beta, BLOCK=blocks.neurons,
            STAGES=blocks.stages, warps=blocks.warps,
        )  # fmt: skip
        return dx, dc, None if d_beta is None else d_beta.sum(0).sum_to_size(beta.shape)
