"""What a teleportation during training did."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Displacement", "TeleportationRecord", "displacement"]


@dataclass(frozen=True)
class Displacement:
    """How far the parameters were moved, all together; norms are Euclidean unless said otherwise."""

    weight_norm_before: float
    weight_norm_after: float
    distance: float
    absolute_distance: float
    """Sum of absolute differences."""


@dataclass(frozen=True)
class TeleportationRecord:
    """One teleportation; gradient norms and losses are None where the callback was given no loss."""

    epoch: int
    mode: str
    seed: int
    displacement: Displacement
    loss_before: float | None = None
    loss_after: float | None = None
    gradient_norm_before: float | None = None
    gradient_norm_after: float | None = None
    metric: str | None = None
    metric_before: float | None = None
    metric_after: float | None = None
    candidates: tuple[float, ...] = ()
    """The metric of each place that ``optim`` compared."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return asdict(self)


def displacement(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Displacement:
    """Measure the way from one set of parameters to another of the same names."""
    difference = [after[name] - value for name, value in before.items()]
    return Displacement(
        _norm(list(before.values())),
        _norm(list(after.values())),
        _norm(difference),
        float(sum(float(d.abs().sum()) for d in difference)),
    )


def _norm(values: list[Tensor]) -> float:
    return float(torch.stack([v.detach().to(torch.float64).square().sum() for v in values]).sum().sqrt())
