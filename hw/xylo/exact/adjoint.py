"""Gradients of a run on the chip: one compiled recursion for each population, products of matrices between.

Populations are done from the last to the first. What a population sends arrives one step later at the
synapses of others, so the gradient of its events in step ``t`` is that of their charges in step ``t + 1``,
times the weights.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.launch import run_kernel

from .course import Core, Course, Gradients
from .placement import INPUT, Block, Group, Placement

__all__ = ["adjoint"]

Arriving = Mapping[str, Tensor]
"""Recording -> gradient (T, B, neurons) that comes from outside."""

_KERNELS = "snnkit.hw.xylo.exact.adjoint_kernels"


def adjoint(
    placement: Placement,
    core: Core,
    course: Course,
    arriving: Arriving,
    dtype: torch.dtype,
    *,
    data: bool = False,
    constants: bool = True,
    leaks: bool = True,
) -> Gradients:
    """Return the gradients that ``arriving`` ones cause.

    Args:
        placement: populations and weights.
        core: the program.
        course: what happened.
        arriving: gradients of recordings; contiguous, of type ``dtype``.
        dtype: float32 or float64.
        data: whether the gradient of the input is wanted.
        constants: whether those of thresholds, biases and membrane decays are.
        leaks: whether those of synaptic decays are.
    """
    work = _Work(placement, core, course, arriving, dtype)
    for group in reversed(list(placement.groups.values())):
        _population(work, group, constants, leaks)
    return Gradients(
        data=_of_data(work) if data else None,
        blocks=tuple(_of_block(work, block) for block in placement.blocks),
        alpha=work.alpha,
        beta=work.beta,
        bias=work.bias,
        threshold=work.threshold,
    )


@dataclass(eq=False)
class _Work:
    """What is known while the populations are done one after the other."""

    placement: Placement
    core: Core
    course: Course
    arriving: Arriving
    dtype: torch.dtype
    dx: dict[int, Tensor] = field(default_factory=dict)
    """Population -> (S, T, B, N): gradients of its charges."""
    leaving: dict[int, Tensor] = field(default_factory=dict)
    """Population -> (T, B, N): gradients of all events that leave it, copies included."""
    alpha: dict[int, Tensor] = field(default_factory=dict)
    beta: dict[int, Tensor] = field(default_factory=dict)
    bias: dict[int, Tensor] = field(default_factory=dict)
    threshold: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = self.core.integers.arrays
        hidden = len(arrays["threshold"])
        floats = {
            name: torch.from_numpy(self.core.weights(name)).to(self.dtype) for name in ("in", "rec", "out")
        }
        self.first_driving = hidden - floats["out"].shape[0]
        self.receiving = floats["in"].shape[1]
        pad = torch.nn.functional.pad
        floats["in"] = pad(floats["in"], (0, 0, 0, hidden - self.receiving))
        floats["out"] = pad(floats["out"], (0, 0, self.first_driving, 0))[:, :, None]
        self.weights = floats
        self.batch, self.steps = self.course.counts.shape[:2]

    def weights_between(self, source: int, target: int) -> Tensor:
        """Return the weights (sources, N, S) as the chip adds them."""
        there = self.placement.groups[target]
        if source == INPUT:
            return self.weights["in"][:, there.place, : there.synapses]
        rows = self.placement.groups[source].place
        return self.weights["out" if there.is_output else "rec"][rows, there.place, : there.synapses]

    def constants(self, group: Group, name: str) -> np.ndarray:
        """Return some integers of a population, as floats."""
        values = self.core.integers.arrays[name + ("_out" if group.is_output else "")][group.place]
        return values.astype(_numpy_type(self.dtype))

    def dashes(self, group: Group) -> np.ndarray:
        """Return the dashes of a population's synapses (S, N)."""
        names = ("dash_syn_out",) if group.is_output else ("dash_syn", "dash_syn_2")
        arrays = self.core.integers.arrays
        return np.stack([arrays[name][group.place] for name in names[: group.synapses]])

    def scale(self, group: Group) -> np.ndarray:
        """Return the factor (N,) from float units to states."""
        integers = self.core.integers
        return (integers.scale_out if group.is_output else integers.scale)[group.place]

    def arriving_at(self, group: Group, name: str) -> Tensor | None:
        """Return the gradient (T, B, N) of a recording of the population, or None."""
        found = self.arriving.get(name + ("_out" if group.is_output else ""))
        return None if found is None else found[:, :, group.place].contiguous()

    @functools.cached_property
    def events(self) -> Tensor:
        """Events (T * B, Nhid) of hidden neurons; they are delivered one step later."""
        return torch.from_numpy(self.course.recorded["Spikes"]).to(self.dtype).flatten(0, 1)

    @functools.cached_property
    def first_events(self) -> Tensor:
        """Events (B, Nhid) that are delivered in the first step."""
        return torch.from_numpy(self.course.before.spikes).to(self.dtype).expand(self.batch, -1)

    @functools.cached_property
    def inputs(self) -> Tensor:
        """Input events (T * B, Nin)."""
        return torch.from_numpy(self.course.counts).to(self.dtype).transpose(0, 1).flatten(0, 1)


def _numpy_type(dtype: torch.dtype) -> Any:
    return np.float32 if dtype == torch.float32 else np.float64


def _population(work: _Work, group: Group, constants: bool, leaks: bool) -> None:
    """Run the recursion of a population whose targets are done."""
    outside = _events_gradient(work, group)
    shape = (work.steps, work.batch, group.size)
    kind = _numpy_type(work.dtype)
    dx = torch.empty((group.synapses, *shape), dtype=work.dtype)
    sums: np.ndarray = np.zeros((3, work.batch, group.size) if constants else (0, 0, 0), kind)
    d_beta: np.ndarray = np.zeros((group.synapses, work.batch, group.size) if leaks else (0, 0, 0), kind)
    beta: np.ndarray = (1 - np.exp2(-work.dashes(group).astype(np.float64))).astype(kind)
    recurrent = _own_weights(work, group)
    thresholds = work.constants(group, "threshold")
    chip, name = work.core.chip, "_out" if group.is_output else ""
    recorded = work.course.recorded
    isyn = recorded[f"Isyn{name}"]
    arguments: tuple[Any, ...] = (
        np.exp2(-work.constants(group, "dash_mem")).astype(kind), beta, work.constants(group, "bias"),
        thresholds, (group.window * (thresholds if group.relative else work.scale(group))).astype(kind),
        _ends(work.dashes(group)).astype(kind),
        np.empty((0, 0, 0), kind) if recurrent is None else recurrent.permute(2, 0, 1).contiguous().numpy(),
        chip.core_version, group.periodic,
        kind(chip.output_event_cap if group.is_output else chip.hidden_event_cap),
        recorded[f"Vmem{name}"], isyn, recorded["Isyn2"] if group.synapses == 2 else isyn[:0],
        recorded["Spikes"] if group.copied else np.empty((0, 0, 0), np.int8),
        _first_membranes(work, group), group.place.start, outside.numpy(),
        _given(work.arriving_at(group, "Vmem"), kind),
        _synaptic(work, group, kind), dx.numpy(), sums, d_beta,
        np.empty((17 + 6 * group.synapses, work.batch * group.size + 1), kind),
    )  # fmt: skip
    run_kernel(_KERNELS, "population_backward", (work.batch, work.steps, group.size), arguments)
    work.dx[group.index] = dx
    if recurrent is not None and group.copied:
        _add_earlier(outside, dx, recurrent)
    work.leaving[group.index] = outside
    _keep_constants(work, group, sums, d_beta, beta)


def _events_gradient(work: _Work, group: Group) -> Tensor:
    """Return the gradient (T, B, N) of a population's events, but for its own weights."""
    given = work.arriving_at(group, "Spikes")
    shape = (work.steps, work.batch, group.size)
    result = torch.zeros(shape, dtype=work.dtype) if given is None else given.clone()
    for other in work.placement.groups.values():
        if group.index in other.copied:
            cap = work.core.chip.hidden_event_cap
            free = torch.from_numpy(work.course.recorded["Spikes"][:, :, other.place] < cap)
            result += work.leaving[other.index] * free
        if other.index != group.index and work.placement.has(group.index, other.index):
            _add_earlier(result, work.dx[other.index], work.weights_between(group.index, other.index))
    return result


def _add_earlier(events: Tensor, dx: Tensor, weights: Tensor) -> None:
    """Add what charges in step ``t + 1`` give to the gradient of events (T, B, N) in step ``t``."""
    for synapse in range(dx.shape[0]):
        events[:-1].flatten(0, 1).addmm_(dx[synapse, 1:].flatten(0, 1), weights[:, :, synapse].T)


def _own_weights(work: _Work, group: Group) -> Tensor | None:
    if not work.placement.has(group.index, group.index):
        return None
    return work.weights_between(group.index, group.index)


def _ends(dashes: np.ndarray) -> np.ndarray:
    """Return (S, 2, N): the states that a synapse at the lower and at the upper end of its range leaves."""
    states = np.array([-(2**15), 2**15 - 1])[None, :, None]
    return states - (states >> dashes.astype(np.int64)[:, None, :])


def _first_membranes(work: _Work, group: Group) -> np.ndarray:
    state = work.course.before
    values = state.vmem_out if group.is_output else state.vmem
    return np.broadcast_to(values, (1, work.batch, values.shape[-1])).copy()


def _given(gradient: Tensor | None, kind: type) -> np.ndarray:
    return np.empty((0, 0, 0), kind) if gradient is None else gradient.contiguous().numpy()


def _synaptic(work: _Work, group: Group, kind: type) -> np.ndarray:
    """Return the gradients (S, T, B, N) of recorded synapses; empty if there are none."""
    names = ("Isyn", "Isyn2")[: group.synapses]
    found = [work.arriving_at(group, name) for name in names]
    if all(one is None for one in found):
        return np.empty((0, 0, 0, 0), kind)
    zeros = torch.zeros((work.steps, work.batch, group.size), dtype=work.dtype)
    return torch.stack([zeros if one is None else one for one in found]).numpy()


def _keep_constants(
    work: _Work, group: Group, sums: np.ndarray, d_beta: np.ndarray, beta: np.ndarray
) -> None:
    """Sum over the batch, in its order."""
    if len(sums):
        alpha, bias, threshold = (torch.from_numpy(np.add.reduce(one, axis=0)) for one in sums)
        work.alpha[group.index], work.bias[group.index] = alpha, bias
        work.threshold[group.index] = threshold
    if len(d_beta):
        work.beta[group.index] = torch.from_numpy((np.add.reduce(d_beta, axis=1) / beta).T.copy())


def _of_block(work: _Work, block: Block) -> Tensor:
    """Return the gradient (sources, N, S) of a block's shifted weights."""
    target = work.placement.groups[block.target]
    parts = []
    for dx in work.dx[block.target]:
        if block.source == INPUT:
            parts.append(work.inputs.T @ dx.flatten(0, 1))
            continue
        place, later = work.placement.groups[block.source].place, dx[1:].flatten(0, 1)
        part = work.events[: len(later), place].T @ later
        parts.append(part.addmm_(work.first_events[:, place].T, dx[0]) if work.steps else part)
    gradient = torch.stack(parts, dim=2)
    # Outside its window the chip has no weights.
    if block.source == INPUT and target.place.stop > work.receiving:
        gradient[:, max(work.receiving - target.place.start, 0) :] = 0
    elif target.is_output:
        gradient[: max(work.first_driving - work.placement.groups[block.source].place.start, 0)] = 0
    return gradient


def _of_data(work: _Work) -> Tensor:
    """Return the gradient (B, T, Nin) of the input, none where it was clipped."""
    batch, steps, channels = work.course.counts.shape
    total = torch.zeros((steps, batch, channels), dtype=work.dtype)
    for target in work.placement.groups:
        if work.placement.has(INPUT, target):
            weights = work.weights_between(INPUT, target)
            for synapse, dx in enumerate(work.dx[target]):
                total += dx @ weights[:, :, synapse].T
    total = total.transpose(0, 1)
    if work.course.clipped is not None:
        total[torch.from_numpy(work.course.clipped)] = 0
    return total
