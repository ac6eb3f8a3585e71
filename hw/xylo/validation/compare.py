"""Two sides on one raster: runs, figures, first difference and its cause."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...divergence.diverge import compared
from ...divergence.result import Comparison
from ...divergence.trace import Trace
from ..specification.core import Specification
from .attribution import attribute
from .layout import Layout, layout_of, read_counts, traces_of
from .sides import Side, read_sides

__all__ = ["Compared", "compare"]


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison with all that it was made of.

    Attributes:
        comparison: the result.
        sides: both.
        traces: what they did.
        layout: their layers.
        counts: (batch, time, Nin) the raster.
    """

    comparison: Comparison
    sides: tuple[Side, Side]
    traces: tuple[Trace, Trace]
    layout: Layout
    counts: np.ndarray


def compare(
    a: Any,
    b: Any,
    raster: Any,
    *,
    specification: Specification | None = None,
    chip: str | None = None,
    seed: int = 0,
    titles: tuple[str, str] | None = None,
) -> Compared:
    """Do what :func:`snnkit.hw.diverge` says, and keep what was computed on the way.

    ``titles`` are what the sides are called, instead of what they are.
    """
    first, second = read_sides(a, b, specification, chip, titles)
    layout = layout_of(first, second)
    counts = read_counts(raster, first, second)
    traces = traces_of(first, second, layout, counts, seed)
    found, place = compared(*traces, counts.shape[1])
    if place is not None and found.divergence is not None:
        cause = attribute(first, second, layout, counts, place=place, traces=traces)
        told = replace(
            found.divergence, cause=cause.cause, reason=_sentence(cause.reason), candidates=cause.candidates
        )
        found = replace(found, divergence=told)
    return Compared(found, (first, second), traces, layout, counts)


def _sentence(reason: str) -> str:
    return reason if reason.endswith(".") else f"{reason}."
