"""LIF neurons with sparse recurrent weights, as pure functions around an autograd node.

The kernels touch only the synapses of neurons that fired, forward, and of neurons whose potential gives a
slope, backward. What they do not cover (see :mod:`snnkit.nn.backend`), and densities at which they are the
slower ones, run as the dense module would, with the weights written out.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.backend import kernels_wanted
from snnkit.nn.functional import LIFDynamics, LIFState
from snnkit.nn.kernels.arrays import flat, own_gradient, spread, summed_over_batch
from snnkit.nn.kernels.coverage import reason_against, surrogate_of, transformation
from snnkit.nn.kernels.launch import run_kernel
from snnkit.nn.kernels.lif_function import LIFOptions
from snnkit.nn.kernels.plain_run import gradients_with_graph, plain_run
from snnkit.nn.kernels.spans import SPAN
from snnkit.nn.lif_paths import OTHER_SURROGATE, has_known_surrogate
from snnkit.nn.lif_segments import get_segments, lif_in_segments
from snnkit.nn.lif_types import NeuronInputs
from snnkit.nn.surrogates import PeriodicExponential
from snnkit.sparse.event_products import event_product
from snnkit.sparse.kernels.by_event import sample_by_event
from snnkit.sparse.products import check_structure, input_gradient
from snnkit.sparse.structure import Pattern
from snnkit.sparse.synapses import Synapses
from snnkit.sparse.written_out import written_out

__all__ = ["DENSE_FROM", "sparse_lif"]

DENSE_FROM = 0.12
"""Density from which the dense kernels, with the weights written out, were measured to be faster
(``benchmarks/sparse_spiking.py``); the events are the same."""

_MODULE = "snnkit.sparse.spiking.kernels"
_SUMMED = ("alpha", "bias", "threshold")
Record = dict[str, Tensor]


class _Options(NamedTuple):
    """What the node takes beside tensors."""

    neurons: LIFOptions
    pattern: Pattern


def sparse_lif(  # noqa: PLR0917 - those of lif, and one more
    data: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    synapses: Synapses,
    noise: Tensor | None = None,
    record: bool = False,
) -> tuple[Tensor, LIFState, Record]:
    """Run neurons as :func:`snnkit.nn.functional.lif` does, with the recurrent weights of ``synapses``.

    Args:
        data: ``(B, T, N * S)``.
        state: before the first step.
        dynamics: constants of the population; its ``w_rec`` is not looked at.
        synapses: ``(N, N * S)``.
        noise: ``(B, T, N)`` or None.
        record: return the course of all states.

    Returns:
        Events ``(B, T, N)``, the last state, and the record, as ``lif``.
    """
    functional._check_steps(data)
    data = functional._floating(data, state.vmem)
    own = replace(dynamics, w_rec=synapses.values)
    watched = synapses.watch is not None and torch.is_grad_enabled()
    if watched and not data.requires_grad:
        data = data.detach().requires_grad_()
    if synapses.density < DENSE_FROM and kernels_wanted(_reason(data, state, own, noise)):
        result = _with_kernels(synapses.pattern(), data, state, own, noise, record)
    else:
        dense = replace(dynamics, w_rec=synapses.dense_weight())
        result = functional.lif(data, state, dense, noise, record)
    if watched:
        # The input stands beside what the synapses deliver, so their gradients are one.
        synapses.watch_product(lambda: _before(state.spikes, result[0]), data)
    return result


def _reason(data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None) -> str | None:
    if not has_known_surrogate(dynamics.spike):
        return OTHER_SURROGATE
    return reason_against(_inputs(data, state, dynamics, noise))


def _inputs(data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None) -> NeuronInputs:
    """Return the tensors of a call; the values of the synapses stand in the place of ``w_rec``."""
    constants = (dynamics.alpha, dynamics.beta, dynamics.bias, dynamics.spike.threshold, dynamics.w_rec)
    return NeuronInputs(data, *state[:3], None, *constants, None, None, noise)


def _with_kernels(  # noqa: PLR0917 - those of sparse_lif
    pattern: Pattern,
    data: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    noise: Tensor | None,
    record: bool,
) -> tuple[Tensor, LIFState, Record]:
    def run(
        data: Tensor,
        state: LIFState,
        dynamics: LIFDynamics,
        noise: Tensor | None,
        record: bool = False,
    ) -> tuple[Tensor, LIFState, Record]:
        return _run(pattern, data, state, dynamics, noise, record)

    steps = get_segments()
    if steps and data.shape[1] > steps and torch.is_grad_enabled() and not record and not transformation():
        return *lif_in_segments(run, data, state, dynamics, noise, steps), {}
    return run(data, state, dynamics, noise, record)


def _run(  # noqa: PLR0917 - those of sparse_lif
    pattern: Pattern,
    data: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    noise: Tensor | None,
    record: bool,
) -> tuple[Tensor, LIFState, Record]:
    spike, inputs = dynamics.spike, _inputs(data, state, dynamics, noise)
    train = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    options = LIFOptions(
        surrogate_of(spike.function),
        float(spike.window),
        float(spike.max_spikes),
        record,
        train,
        spike.relative,
    )
    spikes, vmem, isyn, potentials, charges = SparseLIF.apply(*inputs, _Options(options, pattern))
    last = LIFState(vmem, isyn, spikes[:, -1])
    if not record:
        return spikes, last, {}
    assert dynamics.w_rec is not None
    received = event_product(dynamics.w_rec, _before(state.spikes, spikes).flatten(0, 1), pattern)
    isyn = charges * dynamics.beta
    vmem = potentials - spikes * spike.threshold
    return spikes, last, {"vmem": vmem, "isyn": isyn, "irec": received.view_as(isyn), "spikes": spikes}


def _before(first: Tensor, spikes: Tensor) -> Tensor:
    """Return the events of the step before, ``(B, T, N)``."""
    return torch.cat([first[:, None], spikes[:, :-1]], 1)


class SparseLIF(torch.autograd.Function):
    """The node: takes the tensors of :class:`NeuronInputs` and options, with values as ``w_rec``.

    It returns spikes, the last vmem and isyn, and, to be recorded, potentials before reset and charges before
    their leak; None for what is not recorded. Gradients may flow into all of them. Kept for the backward pass
    are the inputs, the spikes and the states of one step in ``SPAN``.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        inputs, (options, pattern) = NeuronInputs._make(arguments[:-1]), arguments[-1]
        data, constants = inputs.data, _constants(inputs, pattern)
        dtype, (batch, steps, channels) = constants[0].dtype, data.shape
        neurons = inputs.vmem.shape[1]
        spikes = data.new_empty(batch, steps, neurons)
        courses = [data.new_empty(s) if options.record else None for s in (spikes.shape, inputs.data.shape)]
        marks = -(-steps // SPAN) if options.train else 0
        kept = [data.new_empty(batch, marks, width) for width in (neurons, channels)]
        last = [state.clone(memory_format=torch.contiguous_format) for state in (inputs.vmem, inputs.isyn)]
        arrays = (
            flat(data, dtype), (steps, neurons, channels // neurons), flat(inputs.noise, dtype),
            flat(inputs.spikes, dtype), *constants, dtype.type(options.max_spikes),
            *(flat(tensor, dtype) for tensor in (*last, spikes, *courses, *kept)),
        )  # fmt: skip
        run_kernel(_MODULE, "sparse_lif_forward", (batch, steps, channels), arrays)
        if options.train:
            ctx.options, ctx.pattern, ctx.constants = options, pattern, constants
            ctx.save_for_backward(*inputs, *kept, spikes)
            ctx.set_materialize_grads(False)
        if courses[1] is not None:
            courses[1] = courses[1].view(batch, steps, *inputs.isyn.shape[1:])
        return spikes, *last, *courses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        check_structure(ctx.pattern)
        *tensors, spikes = ctx.saved_tensors
        inputs, marks = NeuronInputs._make(tensors[: len(NeuronInputs._fields)]), tensors[-2:]
        need = NeuronInputs._make(ctx.needs_input_grad[:-1])
        if torch.is_grad_enabled():
            run = _plain(ctx.options, ctx.pattern)
            return (*gradients_with_graph(run, inputs, need, gradients), None)
        return (*_gradients(inputs, need, ctx, (spikes, *marks), gradients), None)


def _plain(options: LIFOptions, pattern: Pattern) -> Callable[..., tuple[Tensor | None, ...]]:
    """Return the node's computation on torch's operations, from its tensors to its outputs."""
    dense = plain_run(options)

    def run(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = NeuronInputs._make(tensors)
        outputs = dense(*inputs._replace(w_rec=written_out(inputs.w_rec, pattern).T))
        return *outputs[:3], *outputs[4:6]

    return run


def _constants(inputs: NeuronInputs, pattern: Pattern) -> tuple[np.ndarray, ...]:
    """Return the constants in the kernels' order, one number for each neuron or channel, and synapses."""
    layout = inputs.isyn.shape[1:]
    alpha, bias, threshold = (spread(getattr(inputs, name), layout[:1]) for name in _SUMMED)
    beta = spread(inputs.beta, layout).reshape(-1)
    _, pointers, indices = pattern.by_columns().arrays
    return alpha, beta, bias, threshold, flat(inputs.w_rec, alpha.dtype), pointers, indices


def _gradients(
    inputs: NeuronInputs,
    need: NeuronInputs,
    ctx: Any,
    kept: tuple[Tensor, ...],
    gradients: tuple[Tensor | None, ...],
) -> NeuronInputs:
    options, constants = ctx.options, ctx.constants
    dtype, (batch, steps, channels) = constants[0].dtype, inputs.data.shape
    neurons, spikes = inputs.vmem.shape[1], kept[0]
    g_spikes, g_vmem, g_isyn, *g_courses = gradients
    dv, dc = (own_gradient(g, s) for g, s in ((g_vmem, inputs.vmem), (g_isyn, inputs.isyn)))
    summed = [name for name in _SUMMED if getattr(need, name)]
    dx = inputs.data.new_empty(inputs.data.shape if need.data or need.w_rec else 0)
    du = dx.new_empty((batch, steps, neurons) if need.noise else 0)
    sums = np.empty((5, batch, neurons) if summed else 0, dtype)
    d_beta = np.empty((batch, channels) if need.beta else 0, dtype)
    arrays = (
        flat(inputs.data, dtype), (steps, neurons, channels // neurons), flat(inputs.noise, dtype),
        flat(inputs.spikes, dtype), *constants, dtype.type(options.max_spikes), dtype.type(options.window),
        options.relative, options.surrogate is PeriodicExponential,
        *(flat(tensor, dtype) for tensor in (*kept, g_spikes, *g_courses, dv, dc, dx, du)),
        sums.reshape(-1), d_beta.reshape(-1),
    )  # fmt: skip
    run_kernel(_MODULE, "sparse_lif_backward", (batch, steps, channels), arrays)
    found: dict[str, Tensor | None] = dict.fromkeys(NeuronInputs._fields)
    for name in summed:
        found[name] = summed_over_batch(sums[_SUMMED.index(name)], getattr(inputs, name).shape)
    if need.beta:
        found["beta"] = summed_over_batch(d_beta.reshape(inputs.isyn.shape), inputs.beta.shape)
    found |= {"vmem": dv, "isyn": dc, "data": dx if need.data else None, "noise": du if need.noise else None}
    if need.spikes:
        found["spikes"] = input_gradient(inputs.w_rec, dc.flatten(1), ctx.pattern)
    if need.w_rec:
        before = _before(inputs.spikes, spikes).flatten(0, 1)
        found["w_rec"] = sample_by_event(ctx.pattern.by_columns(), before, dx.flatten(0, 1))
    return NeuronInputs(**found)
