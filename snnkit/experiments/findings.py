"""What an experiment found: data to draw, tables, checks against theory, and how to read them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch

from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["Check", "Findings", "Table", "to_plain"]

Relation = Literal["equals", "at most", "at least"]


@dataclass(frozen=True)
class Check:
    """One measured number held against a law.

    Args:
        name: What was measured, in a few words.
        measured: The number.
        expected: What the law says, or its bound.
        tolerance: For "equals": the largest distance that passes, for example three standard errors.
        relation: How ``measured`` and ``expected`` must stand to each other.
        law: The law in a formula or a few words, with its source.
    """

    name: str
    measured: float
    expected: float
    tolerance: float = 0.0
    relation: Relation = "equals"
    law: str = ""

    def __post_init__(self) -> None:
        if self.relation not in get_args(Relation):
            raise ConfigurationError(
                f"Check {self.name!r} has relation {self.relation!r}; it must be one of "
                f"{', '.join(get_args(Relation))}."
            )

    @property
    def passed(self) -> bool:
        """Whether the law holds; a number that is not finite fails."""
        if not math.isfinite(self.measured):
            return False
        if self.relation == "at most":
            return self.measured <= self.expected + self.tolerance
        if self.relation == "at least":
            return self.measured >= self.expected - self.tolerance
        return abs(self.measured - self.expected) <= self.tolerance

    @property
    def demand(self) -> str:
        """The right-hand side in words: ``1.333 ± 0.02``, ``at most 1e-12``."""
        if self.relation == "equals":
            return f"{self.expected:.4g} ± {self.tolerance:.2g}"
        spare = f" ({self.tolerance:.2g} spare)" if self.tolerance else ""
        return f"{self.relation} {self.expected:.4g}{spare}"


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers under named columns; None shows as a dash."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigurationError(
                    f"Table {self.title!r} has {len(self.columns)} columns and a row of {len(row)}: {row}."
                )


@dataclass(frozen=True)
class Findings:
    """The outcome of an experiment, in plain values: it goes to ``findings.json`` and comes back equal.

    Args:
        reading: What the numbers say and what they do not, in a few sentences; it stands beside the figures.
        data: Whatever the figures need, as plain values (:func:`to_plain` makes them).
        tables: The main numbers.
        checks: Measured numbers against theory.
    """

    reading: str
    data: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return to_plain(asdict(self))

    @classmethod
    def from_json(cls, value: Any) -> "Findings":
        """Undo :meth:`to_json`; anything else raises FileFormatError."""
        try:
            tables = tuple(
                Table(t["title"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]))
                for t in value["tables"]
            )
            checks = tuple(
                Check(**{**c, "measured": math.nan if c["measured"] is None else c["measured"]})
                for c in value["checks"]
            )
            return cls(value["reading"], value["data"], tables, checks)
        except (TypeError, KeyError, ValueError) as error:
            raise FileFormatError(f"These are not findings of an experiment: {error!r}.") from error


def to_plain(value: Any) -> Any:
    """Turn tensors, arrays, tuples and their nestings into JSON's values; what is not finite becomes None.

    Raises:
        ConfigurationError: a value that JSON has no form for.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, torch.Tensor):
        return to_plain(value.detach().cpu().tolist())
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(inner) for inner in value]
    raise ConfigurationError(f"Findings cannot hold a {type(value).__name__}: {value!r}.")
