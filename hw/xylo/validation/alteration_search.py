"""Finds single parameters which, if they were others, would explain what a device did.

Every alteration runs from the step in which it can first matter until it disagrees with the device, so
wrong ones cost a step or two. Where hidden neurons were observed, only parameters of those neurons come into
question in which the difference first shows. Where only outputs were, every parameter does: then some values
of each are tried first, and more around those that explain the first difference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnkit.utilities.chips import get_chip

from ...divergence.result import Alteration
from ..simulator.xylo_sim import XyloSim
from ..specification.core import SHIFTS, Population, Specification
from .alterations import Change, altered, described, widened
from .probe import FIELDS, Probe

__all__ = ["search"]

_MOST_VARIANTS = 100_000
"""Alterations of one kind that are tried, where every neuron comes into question."""

_REFINED = 64
"""Parameters of which more values are tried, if only some were at first."""

_MOST_VALUES = 2048

_MORE_SAMPLES = 8
"""Samples on which alterations that explain the first one are tried."""

_NAMED = 8
"""Parameters that are named, each simulated on all samples."""

_ALIAS = FIELDS.index("aliases")
_RECORDS = ("Spikes", "Vmem", "Isyn", "Isyn2")


@dataclass(frozen=True, eq=False)
class _Sample:
    """One sample: the program's own answer and the device's, arrays (time, neurons)."""

    spec: Specification
    counts: np.ndarray
    expected: Mapping[str, np.ndarray]
    found: Mapping[str, np.ndarray]

    @property
    def probe(self) -> Probe:
        return Probe(self.spec, self.counts, self.found)

    @property
    def first(self) -> int:
        """The first step that differs; the number of steps if none does."""
        different = [(self.expected[name] != values).any(axis=1) for name, values in self.found.items()]
        return next(iter(np.flatnonzero(np.any(different, axis=0)).tolist()), len(self.counts))

    def differing(self, suffix: str) -> np.ndarray:
        """Return the hidden (``""``) or output (``"_out"``) neurons that differ in the first step."""
        names = [name + suffix for name in _RECORDS]
        masks = [self.expected[n][self.first] != self.found[n][self.first] for n in names if n in self.found]
        return np.flatnonzero(np.any(masks, axis=0)) if masks else np.zeros(0, int)


def search(
    spec: Specification,
    counts: np.ndarray,
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    *,
    populations: Sequence[Population],
    sample: int,
    on_a: bool,
) -> tuple[Alteration, ...]:
    """Return the alterations that explain most of what a device did, the likeliest first.

    Args:
        spec: the program that should run.
        counts: (batch, time, Nin).
        expected: (batch, time, neurons) records of the simulator; of the program as it is.
        found: the device's, under some of the same names.
        populations: names for the neurons.
        sample: the one with the first difference.
        on_a: whether the device is the first side, whose values alterations name first.
    """
    spec = widened(spec)
    counts = np.minimum(counts, get_chip(spec.chip).input_event_cap)
    whole = simulated_records(spec, counts)
    at = [
        _Sample(spec, counts[s], {n: v[s] for n, v in whole.items()}, {n: v[s] for n, v in found.items()})
        for s in _chosen(expected, found, sample)
    ]
    variants = _survivors(at)
    changes = [*_changes(spec, variants), *_shift_changes(spec, at[0])]
    ranked = []
    for change, bounds in changes[: 4 * _NAMED]:
        answer = simulated_records(altered(spec, [change]), counts)
        equal = np.all([(answer[name] == values).all(axis=(1, 2)) for name, values in found.items()], axis=0)
        alteration = described(change, spec, populations)
        if on_a:
            alteration = replace(alteration, a_value=alteration.b_value, b_value=alteration.a_value)
        ranked.append(replace(alteration, b_range=None if on_a else bounds, explained=float(equal.mean())))
    ranked.sort(key=lambda alteration: -(alteration.explained or 0.0))
    return tuple(ranked[:_NAMED])


def simulated_records(spec: Specification, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return all records of the simulator from rest, the output events among them."""
    output, _, record = XyloSim(spec)(counts, record=True)
    return record | {"Spikes_out": output}


def _chosen(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], sample: int) -> list[int]:
    """Return the sample, then some others that differ, then some that do not."""
    masks = [(values != found[name]).any(axis=(1, 2)) for name, values in expected.items()]
    differs = np.any(masks, axis=0)
    others = [*np.flatnonzero(differs), *np.flatnonzero(~differs)[: _MORE_SAMPLES // 2]]
    return [sample, *(int(s) for s in others if s != sample)][: 1 + _MORE_SAMPLES]


def _survivors(samples: Sequence[_Sample]) -> np.ndarray:
    """Return the variants that explain the first sample longest, and the others as long as any of those."""
    first = samples[0]
    if "Spikes" in first.found or "Vmem" in first.found:
        targets = first.differing(""), first.differing("_out")
        variants = _variants(first, *targets, every=True)
        agreed = first.probe.agreed(variants)
    else:
        spec = first.spec
        everyone = np.arange(spec.n_hidden), np.arange(spec.n_out)
        variants = _variants(first, *everyone, every=False)
        agreed = first.probe.agreed(variants)
        variants = _refined(first, variants, agreed)
        agreed = first.probe.agreed(variants)
    alive = agreed > first.first
    if not alive.any():
        return variants[:0]
    variants = variants[agreed == agreed.max()]
    for sample in samples[1:]:
        variants = _from_rest(variants)
        agreed = sample.probe.agreed(variants)
        variants = variants[agreed == agreed.max()]
    return variants


def _from_rest(variants: np.ndarray) -> np.ndarray:
    variants = variants.copy()
    variants[:, 4] = 0
    return variants


def _refined(sample: _Sample, variants: np.ndarray, agreed: np.ndarray) -> np.ndarray:
    """Return more values of the parameters that explain the first difference with some."""
    rows = np.flatnonzero(agreed > sample.first)
    rows = rows[np.argsort(-agreed[rows], kind="stable")]
    _, where = np.unique(variants[rows, :3], axis=0, return_index=True)
    parts = [np.zeros((0, 5), np.int64)]
    for row in variants[rows[np.sort(where)][:_REFINED]]:
        same = (variants[:, :3] == row[:3]).all(axis=1)
        if row[0] == _ALIAS:
            parts.append(variants[same & (agreed > sample.first)])
            continue
        values = _between(variants[same, 3], variants[same & (agreed > sample.first), 3])
        parts.append(_with_values(row[:3], values, int(row[4])))
    return np.concatenate(parts)


def _between(tried: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return the whole numbers around the good ones, as far as the next that were tried; not too many."""
    below, above = tried[tried < good.min()], tried[tried > good.max()]
    low, high = max(below, default=good.min()), min(above, default=good.max())
    if high - low < _MOST_VALUES:
        return np.arange(low, high + 1)
    return np.unique(np.concatenate([good, np.linspace(low, high, _MOST_VALUES).astype(np.int64)]))


def _with_values(place: np.ndarray, values: np.ndarray, start: int) -> np.ndarray:
    rows = np.empty((len(values), 5), np.int64)
    rows[:, :3], rows[:, 3], rows[:, 4] = place, values, start
    return rows


def _variants(sample: _Sample, hidden: np.ndarray, output: np.ndarray, *, every: bool) -> np.ndarray:
    """Return rows for :class:`Probe` of all parameters of some neurons, where they matter early enough."""
    parts = [np.zeros((0, 5), np.int64)]
    for kind, places, starts in _parameters(sample, hidden, output):
        early = [(place, start) for place, start in zip(places, starts, strict=True) if start <= sample.first]
        most = _MOST_VARIANTS // max(1, len(early))
        for place, start in early[:_MOST_VARIANTS]:
            if kind == _ALIAS:
                values = np.array([-1, *hidden])[: max(1, most)]
            else:
                now = _current(sample.spec, (kind, *place))
                values = _values(sample.spec, kind, now, None if every else most)
            parts.append(_with_values(np.array([kind, *place]), values, start))
    return np.concatenate(parts)


def _parameters(
    sample: _Sample, hidden: np.ndarray, output: np.ndarray
) -> Iterator[tuple[int, list[tuple[int, int]], list[int]]]:
    """Yield the kinds of parameters with their places and the steps from which each can matter."""
    spec = sample.spec
    chip = get_chip(spec.chip)
    sent_in = _first_steps(sample.counts)
    sent = _first_steps(sample.expected["Spikes"])
    columns = [s * spec.n_hidden + int(n) for s in range(spec.n_synapses) for n in hidden]
    own: dict[int, Sequence[int]] = {3: columns, **dict.fromkeys((4, 5, 6), hidden.tolist())}
    own |= dict.fromkeys((7, 8, 9, 10), output.tolist())
    for kind, neurons in own.items():
        if chip.has_bias or not FIELDS[kind].startswith("bias"):
            yield kind, [(n, 0) for n in neurons], [0] * len(neurons)
    yield _ALIAS, [(k, 0) for k in range(spec.n_hidden)], list(sent)
    receiving = [column for column in columns if column % spec.n_hidden < chip.max_input_expansion]
    driving = range(max(0, spec.n_hidden - chip.max_output_expansion), spec.n_hidden)
    yield 0, *_links(range(spec.n_in), receiving, sent_in, 0)
    yield 1, *_links(range(spec.n_hidden), columns, sent, 1)
    yield 2, *_links(driving, output.tolist(), sent, 1)


def _links(
    sources: Sequence[int], targets: Sequence[int], sent: Sequence[int], delay: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return all weights between sources and targets, and the steps in which each is first used."""
    places = [(source, int(target)) for source in sources for target in targets]
    return places, [sent[source] + delay for source, _ in places]


def _first_steps(events: np.ndarray) -> list[int]:
    """Return the first step with an event of each channel of (time, channels); all steps if there is none."""
    some = events != 0
    return np.where(some.any(axis=0), some.argmax(axis=0), len(events)).tolist()


def _values(spec: Specification, kind: int, now: int, most: int | None) -> np.ndarray:
    """Return the values that a parameter could have instead; at most so many, near ones closer together."""
    chip = get_chip(spec.chip)
    name = FIELDS[kind]
    if name.startswith("weights"):
        low, high = -chip.max_weight - 1, chip.max_weight
    elif name.startswith("dash"):
        low, high = 0, chip.max_dash
    elif name.startswith("threshold"):
        low, high = 1, chip.max_threshold
    else:
        low, high = -chip.max_bias - 1, chip.max_bias
    if most is None or most >= high - low:
        values = np.arange(low, high + 1)
    else:
        quarter = max(most // 4, 1)
        far = np.geomspace(quarter + 1, high - low, max(quarter, 6)).astype(np.int64)
        steps = np.concatenate([np.arange(1, quarter + 1), far])
        values = np.unique([0, *(now - steps), *(now + steps)])
        values = values[(values >= low) & (values <= high)]
    return values[values != now]


def _current(spec: Specification, row: Sequence[int] | np.ndarray) -> int:
    change = _as_change(spec, (*(int(v) for v in row[:3]), 0))
    return int(getattr(spec, change.parameter)[change.place])


def _as_change(spec: Specification, row: Sequence[int]) -> Change:
    """Return a row's parameter, place and new value as a specification names them."""
    kind, place, column, value = row
    name, n = FIELDS[kind], spec.n_hidden
    if kind == _ALIAS:
        return Change("aliases", (place,), spec.aliases[place], () if value < 0 else (value,))
    where: tuple[int, ...]
    if name == "dash_syn" and place >= n:
        name, where = "dash_syn_2", (place - n,)
    elif kind == 2:
        where = (place, column)
    elif kind < 2:
        where = (place, column % n, column // n)
    else:
        where = (place,)
    return Change(name, where, int(getattr(spec, name)[where]), value)


def _changes(spec: Specification, variants: np.ndarray) -> list[tuple[Change, tuple[int, int] | None]]:
    """Return the variants by parameter, each with the value next to the present one and its neighbours."""
    found: dict[tuple[int, ...], list[int]] = {}
    for row in variants:
        found.setdefault(tuple(int(v) for v in row[:3]), []).append(int(row[3]))
    changes: list[tuple[Change, tuple[int, int] | None]] = []
    for place, values in found.items():
        if place[0] == _ALIAS:
            changes += [(_as_change(spec, (*place, value)), None) for value in values]
            changes = [pair for pair in changes if pair[0].before != pair[0].after]
            continue
        now = _current(spec, place)
        values.sort()
        runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
        run = min(runs, key=lambda r: int(np.abs(r - now).min()))
        value = int(run[np.abs(run - now).argmin()])
        changes.append((_as_change(spec, (*place, value)), (int(run[0]), int(run[-1]))))
    return changes


def _shift_changes(spec: Specification, sample: _Sample) -> list[tuple[Change, None]]:
    """Return the weight shifts that explain the first difference."""
    found = []
    for name in SHIFTS:
        for shift in range(get_chip(spec.chip).max_weight_shift + 1):
            change = Change(name, (), getattr(spec, name), shift)
            if shift == change.before:
                continue
            answer = simulated_records(altered(spec, [change]), sample.counts[: sample.first + 1])
            if all(np.array_equal(answer[n], v[: sample.first + 1]) for n, v in sample.found.items()):
                found.append((change, None))
    return found
