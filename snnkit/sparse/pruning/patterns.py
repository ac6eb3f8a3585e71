"""Masks with a pattern and the least loss of score: N:M, rows, columns, blocks.

Scores are matrices ``(targets, sources)``, the order of ``nn.Linear``. The score of a mask is the sum of what
it keeps; each function returns a mask of the largest score that its pattern allows.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkit.sparse.pruning.caps import capped_mask
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, ShapeError
from snnkit.utilities.masks import keep_largest, largest_of_columns

__all__ = [
    "Blocks",
    "Caps",
    "Columns",
    "NofM",
    "Pattern",
    "Rows",
    "block_mask",
    "column_mask",
    "n_of_m_mask",
    "row_mask",
]


def n_of_m_mask(scores: Tensor, n: int, m: int) -> Tensor:
    """Keep the ``n`` largest of every ``m`` consecutive sources of a target: 2:4 is what NVIDIA's units take.

    Raises:
        ConfigurationError: not ``0 < n <= m``.
        ShapeError: the sources do not divide into groups of ``m``.
    """
    if not 0 < n <= m:
        raise ConfigurationError(f"n of m: 0 < n <= m is needed, not {n} of {m}.")
    if scores.shape[1] % m:
        raise ShapeError(f"{n}:{m} needs a multiple of {m} sources, not {scores.shape[1]}.")
    return largest_of_columns(scores.reshape(-1, m).T, n).T.reshape(scores.shape)


def row_mask(scores: Tensor, keep: int) -> Tensor:
    """Keep the ``keep`` targets of the largest sums, with all their sources."""
    _check_count(keep, scores.shape[0], "rows")
    return keep_largest(scores.sum(1), keep)[:, None].expand(scores.shape).clone()


def column_mask(scores: Tensor, keep: int) -> Tensor:
    """Keep the ``keep`` sources of the largest sums, with all their targets."""
    _check_count(keep, scores.shape[1], "columns")
    return keep_largest(scores.sum(0), keep)[None].expand(scores.shape).clone()


def block_mask(scores: Tensor, block: tuple[int, int], keep: int) -> Tensor:
    """Keep the ``keep`` blocks of the largest sums; those at the lower and right edge may be cut short."""
    height, width = block
    if min(block) < 1:
        raise ConfigurationError(f"A block has at least one row and one column, not {block}.")
    rows, columns = scores.shape
    padded = F.pad(scores, (0, -columns % width, 0, -rows % height))
    sums = padded.unflatten(1, (-1, width)).unflatten(0, (-1, height)).sum((1, 3))
    _check_count(keep, sums.numel(), f"blocks of {height} x {width}")
    kept = keep_largest(sums, keep).repeat_interleave(height, 0).repeat_interleave(width, 1)
    return kept[:rows, :columns].contiguous()


def _check_count(keep: int, there: int, what: str) -> None:
    if not 0 < keep <= there:
        raise ConfigurationError(f"{keep} {what} are to stay; there are {there}, and one must stay.")


class Pattern(Protocol):
    """What a mask must look like."""

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the mask ``(targets, sources)`` of the largest score; scores are finite and not negative."""


@dataclass(frozen=True)
class NofM:
    """See :func:`n_of_m_mask`."""

    n: int = 2
    m: int = 4

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the mask."""
        return n_of_m_mask(scores, self.n, self.m)


@dataclass(frozen=True)
class Rows:
    """All but the share ``sparsity`` of the targets."""

    sparsity: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the mask."""
        return row_mask(scores, scores.shape[0] - round(self.sparsity * scores.shape[0]))


@dataclass(frozen=True)
class Columns:
    """All but the share ``sparsity`` of the sources."""

    sparsity: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the mask."""
        return column_mask(scores, scores.shape[1] - round(self.sparsity * scores.shape[1]))


@dataclass(frozen=True)
class Blocks:
    """All but the share ``sparsity`` of the blocks ``(height, width)``."""

    block: tuple[int, int]
    sparsity: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the mask."""
        there = -(-scores.shape[0] // self.block[0]) * -(-scores.shape[1] // self.block[1])
        return block_mask(scores, self.block, there - round(self.sparsity * there))


@dataclass(frozen=True)
class Caps:
    """At most so many sources of each target, targets of each source, and weights in all; see `capped_mask`.

    Args:
        fan_in: Sources of a target; None for any number.
        fan_out: Targets of a source.
        total: Weights.
    """

    fan_in: int | None = None
    fan_out: int | None = None
    total: int | None = None

    @classmethod
    def for_chip(cls, chip: str | Chip) -> "Caps":
        """Return what a chip allows for its recurrent weights: of a neuron, and in all.

        Scores must be those of everything that leaves the neurons, so with S synapses per neuron the targets
        are ``S N``. Both synapse banks of a chip with two count together here; the sources are the neurons.
        """
        entry = get_chip(chip)
        return cls(fan_out=entry.max_fanout, total=entry.max_recurrent_weights * entry.hidden_synapses)

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the mask."""
        found = capped_mask(scores, self.fan_in, self.fan_out, self.total)
        return torch.as_tensor(found.mask)
