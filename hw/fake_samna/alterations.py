"""Programs that are not quite what was written: a single altered value, or the mismatch of a real chip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..xylo.specification.core import ARRAYS, Specification

__all__ = ["Alteration", "Mismatch"]


@dataclass(frozen=True)
class Alteration:
    """One value of a program that the imitated chip holds differently, while it reports the original.

    Attributes:
        field: an array of :class:`Specification`, or ``"aliases"``.
        index: place in the array; for aliases the source neuron.
        value: instead of what is there; for aliases the targets.
    """

    field: str
    index: tuple[int, ...]
    value: int | tuple[int, ...]

    def __post_init__(self) -> None:
        known = (*ARRAYS, "aliases")
        if self.field not in known:
            raise ConfigurationError(unknown_key_message("field of a specification", self.field, known))

    def __call__(self, spec: Specification) -> Specification:
        """Return the altered program."""
        if self.field == "aliases":
            rows = list(spec.aliases)
            rows[self.index[0]] = tuple(self.value) if isinstance(self.value, Sequence) else (self.value,)
            return replace(spec, aliases=tuple(rows))
        array = getattr(spec, self.field).astype(np.int64)
        array[self.index] = self.value
        changed: Any = {self.field: array}
        return replace(spec, **changed)


@dataclass(frozen=True)
class Mismatch:
    """Relative deviations of weights and thresholds from what was written, as fabrication leaves them.

    Attributes:
        weights: standard deviation of each weight's relative error; results are rounded and limited to int8.
        thresholds: the same for thresholds.
        seed: two chips of different seeds deviate differently; the same seed is the same chip.
    """

    weights: float = 0.0
    thresholds: float = 0.0
    seed: int = 0

    def __call__(self, spec: Specification) -> Specification:
        """Return the program as this chip runs it."""
        rng = np.random.default_rng(self.seed)
        changed: Any = {}
        for name, spread in (
            ("weights_in", self.weights),
            ("weights_rec", self.weights),
            ("weights_out", self.weights),
            ("threshold", self.thresholds),
            ("threshold_out", self.thresholds),
        ):
            values = getattr(spec, name)
            limits = np.iinfo(values.dtype)
            low = 1 if name.startswith("threshold") else limits.min
            factor = 1 + spread * rng.standard_normal(values.shape)
            changed[name] = np.rint(values * factor).clip(low, limits.max).astype(np.int64)
        return replace(spec, **changed)
