"""Pruning as a transform: masks by magnitude, overall or within a fan-in or fan-out limit.

The stored weights stay dense while the mask may still change, so a weight whose magnitude recovers returns.
Masked weights get no gradient. :func:`snnkit.transforms.freeze_masks` ends the search, and ``apply_T`` writes
the zeros. Schedules: :mod:`snnkit.utilities.schedules`.
"""

import torch
from torch import Tensor

from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ParameterError, ShapeError
from snnkit.utilities.masks import fan_in_mask, fan_out_mask, magnitude_mask, weight_matrix
from snnkit.utilities.schedules import CubicSchedule, Schedule

from .base import ParameterTransform

__all__ = [
    "CubicSchedule",
    "FanInPruning",
    "FanOutPruning",
    "FixedMask",
    "MagnitudePruning",
    "fan_in_mask",
    "fan_out_mask",
    "magnitude_mask",
]


class _Pruning(ParameterTransform):
    """A transform that multiplies by a mask, chosen anew from the values at each call until it is frozen."""

    mask: Tensor
    frozen: Tensor
    steps: Tensor

    def __init__(self, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.schedule = schedule
        self.register_buffer("mask", torch.ones(()), persistent=False)
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool), persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64), persistent=False)

    def initialise(self, value: Tensor) -> None:
        """Choose the first mask."""
        self.mask = self.choose_mask(value, self._progress()).to(value.dtype)

    def choose_mask(self, value: Tensor, progress: float) -> Tensor:
        """Return the mask for ``value`` when the schedule stands at ``progress`` (0 to 1)."""
        raise NotImplementedError

    def forward(self, value: Tensor) -> Tensor:
        """Return ``value`` with what is pruned set to 0."""
        if not self.frozen:
            self.initialise(value.detach())
        return value * self.mask

    def advance(self) -> None:
        """Move one step along the schedule; a frozen mask stays."""
        self.steps = self.steps + 1

    def freeze(self, value: Tensor) -> None:
        """Fix the mask as it is chosen for ``value`` now."""
        if not self.frozen:
            self.initialise(value.detach())
            self.frozen = torch.ones_like(self.frozen)

    def _progress(self) -> float:
        return 1.0 if self.schedule is None else self.schedule.progress(int(self.steps))


class MagnitudePruning(_Pruning):
    """Drop the share ``sparsity`` of a parameter's elements, those of smallest magnitude.

    With a ``schedule`` the share grows along it; without, it applies at once.
    """

    def __init__(self, sparsity: float, schedule: Schedule | None = None) -> None:
        super().__init__(schedule)
        if not 0.0 <= sparsity <= 1.0:
            raise ParameterError(f"sparsity is {sparsity}; it is a share between 0 and 1.")
        self.sparsity = sparsity

    def choose_mask(self, value: Tensor, progress: float) -> Tensor:
        """See :func:`magnitude_mask`."""
        return magnitude_mask(value, self.sparsity * progress)

    def extra_repr(self) -> str:
        """Show the sparsity."""
        return f"sparsity={self.sparsity}"


class _FanPruning(_Pruning):
    """Keep at most ``limit`` connections per target or source."""

    def __init__(self, limit: int, schedule: Schedule | None = None) -> None:
        super().__init__(schedule)
        if limit < 0 or int(limit) != limit:
            raise ParameterError(f"limit is {limit}; it counts connections, so a whole number of 0 or more.")
        self.limit = limit

    def _allowed(self, available: int, progress: float) -> int:
        return round(available - max(available - self.limit, 0) * progress)

    def extra_repr(self) -> str:
        """Show the limit."""
        return f"limit={self.limit}"


class FanInPruning(_FanPruning):
    """Keep the ``limit`` strongest inputs of every target neuron.

    The weight matrix is ``(Nsrc, N)``, or that of ``torch.nn.Linear``, whose order is told from the module.
    """

    def choose_mask(self, value: Tensor, progress: float) -> Tensor:
        """See :func:`fan_in_mask`."""
        weights = weight_matrix(value).T if self.targets_first else weight_matrix(value)
        mask = fan_in_mask(weights, self._allowed(weights.shape[0], progress))
        return mask.T if self.targets_first else mask


class FanOutPruning(_FanPruning):
    """Keep the ``limit`` strongest outputs of every source neuron; see :class:`FanInPruning`."""

    @classmethod
    def for_chip(cls, chip: str | Chip, schedule: Schedule | None = None) -> "FanOutPruning":
        """Return the transform that keeps recurrent and hidden-to-hidden weights within the chip's fan-out.

        The limit is the average that the chip's memory holds for every neuron in each synapse bank, which is
        stricter than the most that a single neuron may have.
        """
        entry = get_chip(chip)
        return cls(min(entry.max_fanout, entry.mean_fanout_per_synapse * entry.hidden_synapses), schedule)

    def choose_mask(self, value: Tensor, progress: float) -> Tensor:
        """See :func:`fan_out_mask`."""
        weights = weight_matrix(value).T if self.targets_first else weight_matrix(value)
        mask = fan_out_mask(weights, self._allowed(weights.shape[1], progress))
        return mask.T if self.targets_first else mask


class FixedMask(_Pruning):
    """Keep absent connections absent: what is 0 when the network is patched stays 0 in training.

    Args:
        mask: booleans shaped as the parameter, True to keep; None takes the parameter's non-zero elements.
    """

    def __init__(self, mask: Tensor | None = None) -> None:
        super().__init__()
        self.given = None if mask is None else mask.detach().clone()

    def initialise(self, value: Tensor) -> None:
        """Fix the mask."""
        if self.given is not None and self.given.shape != value.shape:
            raise ShapeError(
                f"The mask has shape {tuple(self.given.shape)}, the parameter {tuple(value.shape)}."
            )
        kept = value != 0 if self.given is None else self.given.to(value.device)
        self.mask = kept.to(value.dtype)
        self.frozen = torch.ones_like(self.frozen)
