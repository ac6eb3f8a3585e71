"""LIF neurons over a whole sequence as one autograd node around the compiled kernels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.launch import run_kernel
from snnkit.nn.lif_sequence import LIFSequence, without_single_synapse
from snnkit.nn.surrogates import PeriodicExponential

__all__ = ["FusedLIF", "LIFOptions"]


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


class _Inputs(NamedTuple):
    """The tensors of a call, in the order of ``FusedLIF.apply``; or the same for their gradients."""

    data: Any
    vmem: Any
    isyn: Any
    spikes: Any
    alpha: Any
    beta: Any
    bias: Any
    threshold: Any
    w_rec: Any
    noise: Any


class _Constants(NamedTuple):
    """The constants of a population as arrays, one number for each neuron or channel."""

    alpha: np.ndarray
    beta: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    w_rec: np.ndarray

    @classmethod
    def of(cls, inputs: _Inputs) -> "_Constants":
        layout = inputs.isyn.shape[1:]
        alpha, bias, threshold = (
            _spread(tensor, layout[:1]) for tensor in (inputs.alpha, inputs.bias, inputs.threshold)
        )
        beta = _spread(inputs.beta, layout).reshape(-1)
        return cls(alpha, beta, bias, threshold, _array(inputs.w_rec, 2, beta.dtype))


def _array(tensor: Tensor | None, dimensions: int, dtype: np.dtype) -> np.ndarray:
    """Return the tensor's memory; an empty array for None."""
    if tensor is None:
        return np.empty((0,) * dimensions, dtype)
    return tensor.detach().contiguous().numpy()


def _spread(tensor: Tensor, shape: Sequence[int]) -> np.ndarray:
    return tensor.detach().expand(shape).contiguous().numpy()


def _own(gradient: Tensor | None, like: Tensor) -> Tensor:
    """Return a gradient to write on: a copy, or zeros for None."""
    if gradient is None:
        return torch.zeros(like.shape, dtype=like.dtype)
    return gradient.clone(memory_format=torch.contiguous_format)


class FusedLIF(torch.autograd.Function):
    """Leaky integrate-and-fire neurons over ``(B, T)`` steps.

    ``apply`` takes data ``(B, T, N * S)``; the state before the first step, vmem ``(B, N)``, isyn
    ``(B, N, S)``, spikes ``(B, N)``; alpha ``(N,)`` or ``()``; beta, which broadcasts to ``(N, S)``; bias
    and threshold, ``(N,)`` or ``()``; w_rec ``(N, N * S)`` or None; noise ``(B, T, N)`` or None; options.

    It returns spikes ``(B, T, N)``, the last vmem and isyn, and, to be recorded, potentials before reset
    ``(B, T, N)`` and charges before their leak ``(B, T, N, S)``, else None for both. Gradients may flow
    into all of them. Kept for the backward pass are inputs, spikes and potentials; charges are computed
    anew, unless there is recurrence.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        inputs, options = _Inputs._make(arguments[:-1]), arguments[-1]
        data, constants = inputs.data.contiguous(), _Constants.of(inputs)
        dtype, (batch, steps, channels) = constants.beta.dtype, data.shape
        neurons = inputs.vmem.shape[1]
        spikes = data.new_empty(batch, steps, neurons)
        kept = options.record or options.train
        potentials = data.new_empty(spikes.shape if kept else (0, 0, 0))
        charged = options.record or (options.train and inputs.w_rec is not None and ctx.needs_input_grad[5])
        charges = data.new_empty(data.shape if charged else (0, 0, 0))
        vmem = inputs.vmem.clone(memory_format=torch.contiguous_format)
        isyn = inputs.isyn.clone(memory_format=torch.contiguous_format)
        arrays = (
            _array(data, 3, dtype), _array(inputs.noise, 3, dtype), _array(inputs.spikes, 2, dtype),
            *constants, dtype.type(options.max_spikes),
            vmem.numpy(), isyn.numpy().reshape(batch, channels),
            spikes.numpy(), potentials.numpy(), charges.numpy(),
        )  # fmt: skip
        run_kernel("lif_kernels", "lif_forward", data.shape, arrays)
        ctx.options = options
        if options.train:
            ctx.save_for_backward(*inputs, spikes, potentials, charges if charged else None)
            ctx.set_materialize_grads(False)
        if not options.record:
            return spikes, vmem, isyn, None, None
        return spikes, vmem, isyn, potentials, charges.view(batch, steps, *isyn.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        *kept, spikes, potentials, charges = ctx.saved_tensors
        inputs, need = _Inputs._make(kept), _Inputs._make(ctx.needs_input_grad[:-1])
        if torch.is_grad_enabled():
            return (*_differentiable_gradients(inputs, need, ctx.options, gradients), None)
        return (*_gradients(inputs, need, ctx.options, (spikes, potentials, charges), gradients), None)


def _gradients(
    inputs: _Inputs,
    need: _Inputs,
    options: LIFOptions,
    courses: tuple[Tensor, Tensor, Tensor | None],
    gradients: tuple[Tensor | None, ...],
) -> _Inputs:
    spikes, potentials, charges = courses
    constants = _Constants.of(inputs)
    dtype, (batch, _, channels) = constants.beta.dtype, inputs.data.shape
    g_spikes, g_vmem, g_isyn, g_potentials, g_charges = gradients
    if g_charges is not None:
        g_charges = g_charges.reshape(inputs.data.shape)
    dv, dc = _own(g_vmem, inputs.vmem), _own(g_isyn, inputs.isyn)
    whole = need.data or need.w_rec
    dx = torch.empty(inputs.data.shape if whole else (0, 0, 0), dtype=dv.dtype)
    du = torch.empty(spikes.shape if need.noise else (0, 0, 0), dtype=dv.dtype)
    constant = need.alpha or need.bias or need.threshold
    sums = np.zeros((3, *inputs.vmem.shape) if constant else (0, 0, 0), dtype)
    d_beta = np.zeros((batch, channels) if need.beta else (0, 0), dtype)
    arrays = (
        _array(inputs.data, 3, dtype), _array(inputs.isyn, 3, dtype).reshape(batch, channels),
        _array(inputs.vmem, 2, dtype), spikes.detach().numpy(), potentials.detach().numpy(),
        _array(None if charges is None else charges.view(inputs.data.shape), 3, dtype),
        constants.alpha, constants.beta, constants.threshold, constants.w_rec,
        options.surrogate is PeriodicExponential, dtype.type(options.window), dtype.type(options.max_spikes),
        _array(g_spikes, 3, dtype), _array(g_potentials, 3, dtype), _array(g_charges, 3, dtype),
        dv.numpy(), dc.numpy().reshape(batch, channels), dx.numpy(), du.numpy(), sums, d_beta,
    )  # fmt: skip
    run_kernel("lif_kernels", "lif_backward", inputs.data.shape, arrays)
    constants_gradients = _of_constants(inputs, need, sums, d_beta)
    first = dc.reshape(batch, channels)
    return _Inputs(
        dx if need.data else None,
        dv,
        dc,
        first @ inputs.w_rec.T if need.spikes and inputs.w_rec is not None else None,
        **constants_gradients,
        w_rec=_of_recurrent_weights(inputs.spikes, spikes, dx) if need.w_rec else None,
        noise=du if need.noise else None,
    )


def _of_constants(
    inputs: _Inputs, need: _Inputs, sums: np.ndarray, d_beta: np.ndarray
) -> dict[str, Tensor | None]:
    """Sum over the batch, in its order, and over what was broadcast."""
    found: dict[str, Tensor | None] = dict.fromkeys(("alpha", "beta", "bias", "threshold"))
    if sums.size:
        alpha, bias, threshold = (torch.from_numpy(np.add.reduce(part, axis=0)) for part in sums)
        found |= {"alpha": alpha, "bias": bias, "threshold": threshold}
    if d_beta.size:
        found["beta"] = torch.from_numpy(np.add.reduce(d_beta, axis=0)).view(inputs.isyn.shape[1:])
    return {
        name: _summed_to(value, getattr(inputs, name).shape)
        if value is not None and getattr(need, name)
        else None
        for name, value in found.items()
    }


def _summed_to(value: Tensor, shape: torch.Size) -> Tensor:
    """Sum as ``sum_to_size``, in an order that does not depend on the number of threads."""
    if value.shape == shape:
        return value
    padded = (1,) * (value.ndim - len(shape)) + tuple(shape)
    axes = tuple(axis for axis, size in enumerate(padded) if size == 1)
    return torch.from_numpy(np.add.reduce(value.numpy(), axis=axes, keepdims=True)).reshape(shape)


def _of_recurrent_weights(first: Tensor, spikes: Tensor, dc: Tensor) -> Tensor:
    """Return ``sum_t spikes[t-1]^T dc[t]`` as one product over batch and time."""
    batch, steps, neurons = spikes.shape
    rows, columns = spikes.detach().view(-1, neurons), dc.view(batch * steps, -1)
    # A shift by one row needs no copy of the spikes, but joins each element's last step to the next's first.
    before = first.detach().clone()
    before[1:] -= spikes.detach()[:-1, -1]
    return torch.addmm(before.T @ dc[:, 0], rows[:-1].T, columns[1:])


def _differentiable_gradients(
    inputs: _Inputs, need: _Inputs, options: LIFOptions, gradients: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Return gradients with a graph of their own: the sequence is run again on torch's operations."""
    layout = inputs.isyn.shape[1:]
    currents, isyn, beta = without_single_synapse(inputs.data.unflatten(-1, layout), inputs.isyn, inputs.beta)
    spikes, potentials, charges = LIFSequence.apply(
        currents, inputs.vmem, isyn, inputs.spikes, inputs.alpha, beta, inputs.bias, inputs.threshold,
        inputs.w_rec, inputs.noise, options.surrogate, options.window, options.max_spikes,
    )  # fmt: skip
    charges = charges.view(*spikes.shape[:2], *layout)
    vmem = potentials[:, -1] - spikes[:, -1] * inputs.threshold
    outputs = (spikes, vmem, charges[:, -1] * inputs.beta, potentials, charges)
    pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None]
    wanted = [tensor for tensor, is_needed in zip(inputs, need, strict=True) if is_needed]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True
        )
    )
    return tuple(next(found) if is_needed else None for is_needed in need)
