"""Searches whole layers: weight shifts by trying the few combinations, then every neuron by itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from snnkit.utilities.threads import run_shared

from .lines import Choice, best_scale, search_neuron
from .neurons import Candidates, Layer, Neuron, Shifts, judge
from .settings import OnProgress, OrbitSettings

__all__ = ["LayerChoice", "choose_shifts", "mismatch_of", "search_layer"]

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """Integers of a layer.

    Attributes:
        shifts: of its weights, by bank.
        neurons: of each neuron.
    """

    shifts: Shifts
    neurons: tuple[Choice, ...]

    @property
    def mismatch(self) -> int:
        """Differing events of all neurons."""
        return sum(choice.mismatch for choice in self.neurons)

    @property
    def judged(self) -> int:
        """Candidates that were tried."""
        return sum(choice.judged for choice in self.neurons)


def choose_shifts(
    layer: Layer, starts: Iterable[Shifts], settings: OrbitSettings, on_progress: OnProgress
) -> tuple[Shifts, int]:
    """Return the weight shifts under which the neurons' best scales leave the fewest differing events.

    All banks together are tried first, and ``starts``; then the neighbours of the best, until none is better.
    Of shifts that serve alike the smallest are taken.

    Returns:
        The shifts, and the number of combinations that were tried.
    """
    banks = _used_banks(layer)
    largest = layer.chip.max_weight_shift
    merits: dict[Shifts, tuple[int, ...]] = {}

    def best_of(candidates: Iterable[Shifts]) -> Shifts:
        for shifts in candidates:
            kept = tuple(shift if used else 0 for shift, used in zip(shifts, banks, strict=True))
            if kept not in merits:
                found = _each(layer, lambda neuron, s=kept: best_scale(neuron, s, settings.scales).mismatch)
                merits[kept] = (sum(found), sum(kept), *kept)
                on_progress("weight shifts", len(merits), (largest + 1) ** len(banks))
        return min(merits, key=lambda shifts: merits[shifts])

    best = best_of([*((shift,) * len(banks) for shift in range(largest + 1)), *starts])
    while (again := best_of(_neighbours(best, largest))) != best:
        best = again
    return best, len(merits)


def _used_banks(layer: Layer) -> tuple[bool, ...]:
    count = int(layer.bank.max(initial=0)) + 1
    return tuple(bool(layer.weights[layer.bank == bank].any()) for bank in range(count))


def _neighbours(shifts: Shifts, largest: int) -> list[Shifts]:
    moved = [
        (*shifts[:place], shift + step, *shifts[place + 1 :])
        for place, shift in enumerate(shifts)
        for step in (-1, 1)
    ]
    return [found for found in moved if min(found) >= 0 and max(found) <= largest]


def search_layer(
    layer: Layer,
    shifts: Shifts,
    settings: OrbitSettings,
    on_progress: OnProgress,
    *,
    what: str,
    starts: np.ndarray | None = None,
) -> LayerChoice:
    """Search every neuron of a layer; ``starts`` (N,) are scales to be tried in any case."""
    done: list[None] = []

    def search(neuron: Neuron, start: float | None) -> Choice:
        choice = search_neuron(neuron, shifts, settings, start)
        done.append(None)
        on_progress(what, len(done), layer.size)
        return choice

    given = [None] * layer.size if starts is None else [float(scale) for scale in starts]
    return LayerChoice(shifts, tuple(_each(layer, search, given)))


def mismatch_of(
    layer: Layer, weights: np.ndarray, shifts: Shifts, threshold: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Return by how many events each neuron of a program differs, driven by given events: int64 (N,).

    Args:
        layer: the neurons, and what drives them.
        weights: (sources, N, synapses) integers before the weight shifts.
        shifts: by bank.
        threshold: (N,).
        bias: (N,).
    """

    def count(neuron: Neuron, number: int) -> int:
        own = weights[layer.sources_of(number), number]
        integers = Candidates(own[None], threshold[number, None], bias[number, None])
        return int(judge(neuron, shifts, integers)[0])

    return np.array(_each(layer, count, range(layer.size)), np.int64)


def _each(layer: Layer, run: Callable[..., Found], *given: Iterable) -> list[Found]:
    """Return ``run(neuron, ...)`` of all neurons, shared among torch's number of threads."""
    tasks = list(zip(range(layer.size), *given, strict=True))
    return run_shared(lambda task: run(layer.neuron(task[0]), *task[1:]), tasks, torch.get_num_threads())
