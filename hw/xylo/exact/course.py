"""What the chip's arithmetic went through, and the gradients that come out of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.chips import Chip

from ..deployment.quantising import Integers
from ..simulator.run import CoreState

__all__ = ["RECORDED", "Core", "Course", "Gradients"]

RECORDED = ("Spikes", "Vmem", "Isyn", "Isyn2", "Spikes_out", "Vmem_out", "Isyn_out")
"""Names of recordings; ``Isyn2`` exists with two synapses."""


@dataclass(frozen=True, eq=False)
class Core:
    """A program as the adjoint needs it."""

    chip: Chip
    integers: Integers
    plan: ScalePlan
    aliases: tuple[tuple[int, ...], ...]

    def weights(self, name: str) -> np.ndarray:
        """Return the weights ``"in"``, ``"rec"`` or ``"out"`` as the chip adds them, shifted; int64."""
        shift: int = getattr(self.plan, f"weight_shift_{name}")
        return self.integers.arrays[f"weights_{name}"].astype(np.int64) << shift


@dataclass(frozen=True, eq=False)
class Course:
    """A run of a program: what went in, and all states.

    Attributes:
        counts: (B, T, Nin) events within the chip's limit.
        clipped: (B, T, Nin) where more events than the limit were given; None if nowhere.
        before: state before the first step.
        recorded: name -> (T, B, neurons), see ``RECORDED``.
    """

    counts: np.ndarray
    clipped: np.ndarray | None
    before: CoreState
    recorded: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients in the chip's own units; ``alpha`` and ``beta`` are the decays ``1 - 2**-dash``.

    Attributes:
        data: (B, T, Nin), or None if it was not asked for.
        blocks: one (sources, N, S) for each block of the placement, of its shifted weights.
        alpha: population -> (N,).
        beta: population -> (N, S).
        bias: population -> (N,).
        threshold: population -> (N,).
    """

    data: Tensor | None
    blocks: tuple[Tensor, ...]
    alpha: Mapping[int, Tensor]
    beta: Mapping[int, Tensor]
    bias: Mapping[int, Tensor]
    threshold: Mapping[int, Tensor]
