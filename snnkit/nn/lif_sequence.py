"""Leaky integrate-and-fire neurons over a whole sequence as one autograd node.

Forward the operations of :func:`snnkit.nn.functional.lif_reference` in the same order, so that the values are
equal to the last bit, but without a graph of some twenty nodes per step. Backward the adjoint recursion.

With input ``x``, charge ``c``, synaptic current ``i = beta c``, potential before reset ``u`` and after it
``v``, spikes ``s`` and their surrogate slope ``f``, forward in step ``t``

    c[t] = i[t-1] + x[t] + s[t-1] W        u[t] = alpha v[t-1] + sum_s i[t] + noise + bias
    s[t] = spike(u[t])                     v[t] = u[t] - th s[t]

and backward, ``d`` being gradients and ``g`` those that come from outside, from the last step to the first:

    ds = g_s - th dv + W dc[t+1]           p  = ds f                du = dv + p + g_u
    di = du + dc[t+1]                      dc = beta di + g_c       dv = alpha du
    dalpha += du v[t-1]     dbeta += di c     dbias += du     dth -= s dv[t] + p u / th

Everything stays within one step: sums over the sequence are kept as ``(B, N)``, because arrays of the whole
sequence do not fit the cache and cost more than the operations saved.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkit.nn.surrogates import surrogate_width

__all__ = ["LIFSequence", "sum_synapses", "without_single_synapse"]


def without_single_synapse(currents: Tensor, isyn: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Drop the axis S if it is 1: no sum over it in the loop, and cheaper indexing."""
    layout = isyn.shape[1:]
    if layout[-1] != 1:
        return currents, isyn, beta
    return currents.squeeze(-1), isyn.squeeze(-1), beta.expand(layout).squeeze(-1)


def sum_synapses(isyn: Tensor) -> Tensor:
    """Sum over the last axis in ascending order, which ``sum`` does not promise."""
    return functools.reduce(torch.add, isyn.unbind(-1))


class _Inputs(NamedTuple):
    """The tensors that ``apply`` takes, and, with flags in their place, which of them need a gradient."""

    currents: Any
    vmem: Any
    isyn: Any
    spikes: Any
    alpha: Any
    beta: Any
    bias: Any
    threshold: Any
    w_rec: Any
    noise: Any


class LIFSequence(torch.autograd.Function):
    """Leaky integrate-and-fire neurons over ``(B, T)`` steps.

    ``apply`` takes, for ``L = (N,)`` or, with several synapses, ``L = (N, S)``: input currents
    ``(B, T, *L)``; the state before the first step, vmem ``(B, N)``, isyn ``(B, *L)``, spikes ``(B, N)``;
    alpha, ``(N,)`` or ``()``; beta, which broadcasts to ``L``; bias and threshold, ``(N,)`` or ``()``; w_rec
    ``(N, N * S)`` or None; noise ``(B, T, N)`` or None; the surrogate's class; its window; the most spikes
    per step; whether the window is in units of the threshold.

    It returns spikes ``(B, T, N)``, potentials before reset ``(B, T, N)`` and charges ``(B, T, *L)`` (the
    synaptic currents before their leak). Gradients may flow into all three.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Run the loop."""
        *tensors, _, _, max_spikes, _ = arguments
        currents, vmem, isyn, spikes, alpha, beta, bias, threshold, w_rec, noise = tensors
        many_synapses = isyn.dim() == 3
        all_spikes, potentials, charges = [], [], []
        steps = currents.unbind(1)
        noises = (None,) * len(steps) if noise is None else noise.unbind(1)
        for current, noise_now in zip(steps, noises, strict=True):
            charge = isyn + current
            if w_rec is not None:
                charge = charge + (spikes @ w_rec).view_as(charge)
            isyn = charge * beta
            vmem = vmem * alpha + (sum_synapses(isyn) if many_synapses else isyn)
            if noise_now is not None:
                vmem = vmem + noise_now
            vmem = vmem + bias
            spikes = torch.floor(vmem / threshold).clamp(0.0, max_spikes)
            potentials.append(vmem)
            vmem = vmem - spikes * threshold
            all_spikes.append(spikes)
            charges.append(charge)
        return torch.stack(all_spikes, 1), torch.stack(potentials, 1), torch.stack(charges, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep inputs and outputs for the backward pass."""
        *tensors, ctx.surrogate, ctx.window, ctx.max_spikes, ctx.relative = inputs
        # Currents and noise are not needed any more: charges and potentials contain them.
        ctx.save_for_backward(*tensors[1:9], *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint recursion."""
        *kept, spikes, potentials, charges = ctx.saved_tensors
        inputs = _Inputs._make([None, *kept, None])
        need = _Inputs._make(ctx.needs_input_grad[:10])

        width = surrogate_width(inputs.threshold, ctx.window, ctx.relative)

        def slope(potential: Tensor) -> Tensor:
            return ctx.surrogate.slope(potential, inputs.threshold, width, ctx.max_spikes)

        outputs = (spikes, potentials, charges)
        courses, dv, sums = _adjoint(inputs, outputs, gradients, slope=slope, need=need)
        dc = torch.stack(courses["dc"], 1)
        previous = None
        if inputs.w_rec is not None and (need.spikes or need.w_rec):
            previous = dc[:, 0].flatten(1) @ inputs.w_rec.T
        d_w_rec = None
        if need.w_rec:
            before = torch.cat([inputs.spikes[:, None], spikes[:, :-1]], 1)
            d_w_rec = before.flatten(0, 1).T @ dc.flatten(0, 1).flatten(1)
        noise = torch.stack(courses["du"], 1) if need.noise else None
        found = _Inputs(dc, dv, dc[:, 0], previous, **sums, w_rec=d_w_rec, noise=noise)
        return (*found, None, None, None, None)


class _Sums:
    """Gradients of the constants, summed over the steps but not yet over the batch."""

    def __init__(self, inputs: _Inputs, need: _Inputs) -> None:
        self.inputs, self.need = inputs, need
        self.totals: dict[str, Tensor] = {}

    def add(self, name: str, one: Tensor, other: Tensor | None = None) -> None:
        total = self.totals.get(name)
        if total is None:
            self.totals[name] = one if other is None else one * other
        else:
            self.totals[name] = total + one if other is None else torch.addcmul(total, one, other)

    def gradients(self) -> dict[str, Tensor | None]:
        """Return the gradients of alpha, beta, bias and threshold in the shapes of those."""
        if self.need.threshold:
            drop = self.totals["spikes dv"] + self.totals["p u"] / self.inputs.threshold
            self.totals["threshold"] = -drop
        return {
            name: self.totals[name].sum_to_size(getattr(self.inputs, name).shape)
            if getattr(self.need, name)
            else None
            for name in ("alpha", "beta", "bias", "threshold")
        }


def _adjoint(
    inputs: _Inputs,
    outputs: tuple[Tensor, Tensor, Tensor],
    gradients: tuple[Tensor | None, ...],
    *,
    slope: Callable[[Tensor], Tensor],
    need: _Inputs,
) -> tuple[dict[str, list[Tensor]], Tensor, dict[str, Tensor | None]]:
    """Return ``dc`` and ``du`` of all steps, ``dv`` before the first, and the gradients of the constants."""
    alpha, beta, threshold, w_rec = inputs.alpha, inputs.beta, inputs.threshold, inputs.w_rec
    spikes, potentials, charges = (output.unbind(1) for output in outputs)
    g_s, g_u, g_c = ((None,) * len(spikes) if g is None else g.unbind(1) for g in gradients)
    many_synapses = charges[0].dim() == 3
    dv, dc = torch.zeros_like(potentials[0]), torch.zeros_like(charges[0])
    sums, all_dc, all_du = _Sums(inputs, need), [], []
    for t in reversed(range(len(spikes))):
        ds = -threshold * dv if (g := g_s[t]) is None else torch.addcmul(g, threshold, dv, value=-1)
        if w_rec is not None:
            ds = ds + dc.flatten(1) @ w_rec.T
        p = ds * slope(potentials[t])
        du = dv + p if (g := g_u[t]) is None else dv + p + g
        if need.threshold:
            sums.add("spikes dv", spikes[t], dv)
            sums.add("p u", p, potentials[t])
        if need.bias:
            sums.add("bias", du)
        if need.alpha:
            sums.add("alpha", du, potentials[t - 1] - spikes[t - 1] * threshold if t else inputs.vmem)
        di = dc + (du.unsqueeze(-1) if many_synapses else du)
        if need.beta:
            sums.add("beta", di, charges[t])
        dc = di * beta if (g := g_c[t]) is None else di * beta + g
        dv = du * alpha
        all_dc.append(dc)
        all_du.append(du)
    return {"dc": all_dc[::-1], "du": all_du[::-1]}, dv, sums.gradients()
