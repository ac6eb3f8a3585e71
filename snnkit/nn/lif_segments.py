"""Long recordings in segments: only what stands between two of them is kept for the backward pass.

With ``use_segments(n)``, or ``set_segments(n)`` for the process, a population of LIF neurons that is to be
trained on more than ``n`` steps keeps its input and its states before every ``n``-th step. The backward pass
runs one segment after the other again, from the last to the first. Values are the same to the last bit, and
gradients up to the order of sums; it costs one more forward pass. A call that records its states keeps them
all in any case, and is not cut; nor is one under a transform of ``torch.func``.

The compiled kernels for the CPU keep little more without it (states before every 16th step, see
:mod:`snnkit.nn.kernels.lif_kernels`); what gains are the ``torch`` and ``reference`` backends, adaptation,
and surrogates of one's own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.lif_types import Adaptation, LIFDynamics, LIFState, NeuronInputs
from snnkit.utilities.errors import ConfigurationError

__all__ = ["get_segments", "lif_in_segments", "set_segments", "use_segments"]

Run = Callable[[Tensor, LIFState, LIFDynamics, Tensor | None], tuple[Tensor, LIFState, dict[str, Tensor]]]

_process: int | None = None
_local: ContextVar[int | None] = ContextVar("snnkit_segments", default=None)


def get_segments() -> int | None:
    """Return the steps of a segment, or None where sequences are not cut."""
    return _local.get() or _process


def _checked(steps: int | None, where: str) -> int | None:
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise ConfigurationError(f"{where}: a segment has 1 or more whole steps, or None, not {steps!r}.")
    return steps


def set_segments(steps: int | None) -> None:
    """Cut sequences into segments of so many steps, in the whole process; None ends it.

    Raises:
        ConfigurationError: ``steps`` is no whole number above 0.
    """
    global _process  # noqa: PLW0603 - the switch of the process
    _process = _checked(steps, "set_segments")


@contextmanager
def use_segments(steps: int) -> Iterator[None]:
    """Cut the sequences of the calls of a ``with`` block, in this thread.

    Raises:
        ConfigurationError: ``steps`` is no whole number above 0.
    """
    token = _local.set(_checked(steps, "use_segments"))
    try:
        yield
    finally:
        _local.reset(token)


def lif_in_segments(  # noqa: PLR0917 - those of lif, and two more
    run: Run, data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None, steps: int
) -> tuple[Tensor, LIFState]:
    """Run neurons in segments of ``steps``; return events and the last state.

    Args:
        run: what runs a segment, as :func:`snnkit.nn.functional.lif`.
        data: ``(B, T, N * S)``.
        state: before the first step.
        dynamics: constants of the population.
        noise: ``(B, T, N)`` or None.
        steps: of a segment.
    """
    own = dynamics.adaptation or Adaptation(None, None)  # type: ignore[arg-type]
    constants = (dynamics.alpha, dynamics.beta, dynamics.bias, dynamics.spike.threshold, dynamics.w_rec)
    inputs = NeuronInputs(data, *state, *constants, *own, noise)
    outputs = _Segmented.apply(*inputs, run, dynamics, steps)
    return outputs[0], LIFState(*outputs[1:])


class _Segmented(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        *tensors, run, dynamics, steps = arguments
        inputs = NeuronInputs._make(tensors)
        ctx.run, ctx.dynamics, ctx.steps = run, dynamics, steps
        state, borders, spikes = LIFState(*inputs[1:5]), [], []
        for start in range(0, inputs.data.shape[1], steps):
            borders.append(state)
            events, state = _run_segment(run, dynamics, inputs, state, slice(start, start + steps))
            # The last events are a view of the segment's, and would hold on to all of them.
            state = LIFState._make(None if tensor is None else tensor.clone() for tensor in state)
            spikes.append(events)
        ctx.save_for_backward(*inputs, *(tensor for border in borders[1:] for tensor in border))
        ctx.set_materialize_grads(False)
        return torch.cat(spikes, 1), *state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        kept, count = ctx.saved_tensors, len(NeuronInputs._fields)
        inputs = NeuronInputs._make(kept[:count])
        borders = [LIFState(*inputs[1:5])]
        borders += [LIFState(*kept[k : k + 4]) for k in range(count, len(kept), 4)]
        g_spikes, *g_state = gradients
        totals: list[Tensor | None] = [None] * count
        courses: list[list[Tensor | None]] = [[], []]  # of data and noise
        for k in reversed(range(len(borders))):
            part = slice(k * ctx.steps, (k + 1) * ctx.steps)
            arriving = [None if g_spikes is None else g_spikes[:, part], *g_state]
            found = _segment_gradients(ctx, inputs, borders[k], part, arriving)
            g_state = list(found[1:5])
            courses[0].append(found.data)
            courses[1].append(found.noise)
            for place in range(5, count - 1):
                totals[place] = _added(totals[place], found[place])
        totals[1:5] = g_state
        totals[0], totals[-1] = (_joined(course) for course in courses)
        return *totals, None, None, None


def _run_segment(
    run: Run, dynamics: LIFDynamics, inputs: NeuronInputs, state: LIFState, part: slice
) -> tuple[Tensor, LIFState]:
    """Run steps of the sequence with the tensors of ``inputs`` in the place of those of ``dynamics``."""
    own = None if inputs.w_ahp is None else Adaptation(inputs.w_ahp, inputs.gamma)
    constants = replace(
        dynamics,
        alpha=inputs.alpha,
        beta=inputs.beta,
        bias=inputs.bias,
        spike=replace(dynamics.spike, threshold=inputs.threshold),
        w_rec=inputs.w_rec,
        adaptation=own,
    )
    noise = None if inputs.noise is None else inputs.noise[:, part]
    spikes, last, _ = run(inputs.data[:, part], state, constants, noise)
    return spikes, last


def _segment_gradients(
    ctx: Any, inputs: NeuronInputs, border: LIFState, part: slice, arriving: Sequence[Tensor | None]
) -> NeuronInputs:
    """Run a segment again and return the gradients of all its inputs."""
    tensors = [inputs.data[:, part], *border, *inputs[5:-1]]
    tensors.append(None if inputs.noise is None else inputs.noise[:, part])
    needed = list(ctx.needs_input_grad[: len(tensors)])
    if part.start:
        needed[1:5] = [True] * 4  # the segments before may lead to constants
    leaves = [
        None if t is None else t.detach().requires_grad_(n) for t, n in zip(tensors, needed, strict=True)
    ]
    own = NeuronInputs._make(leaves)
    with torch.enable_grad():
        spikes, last = _run_segment(ctx.run, ctx.dynamics, own, LIFState(*own[1:5]), slice(None))
    pairs = [
        (o, g)
        for o, g in zip((spikes, *last), arriving, strict=True)
        if o is not None and g is not None and o.requires_grad
    ]
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    if not pairs:
        return NeuronInputs._make([None] * len(tensors))
    outputs: Any = [o for o, _ in pairs]
    found = iter(torch.autograd.grad(outputs, wanted, [g for _, g in pairs], allow_unused=True))
    return NeuronInputs._make(
        [next(found) if leaf is not None and leaf.requires_grad else None for leaf in leaves]
    )


def _added(total: Tensor | None, one: Tensor | None) -> Tensor | None:
    return one if total is None else total if one is None else total + one


def _joined(course: list[Tensor | None]) -> Tensor | None:
    """Put the parts, which came from the last to the first, in their order."""
    parts = [part for part in reversed(course) if part is not None]
    return torch.cat(parts, 1) if len(parts) == len(course) else None
