"""Factors, signs and orders of channels: the ordinary part of an element."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from snnkit.teleport.changes import Change
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.parts import Part, register_part
from snnkit.teleport.symmetries import Symmetries
from snnkit.utilities.errors import FileFormatError

__all__ = ["ChannelPart"]

_TYPES = {"scale": torch.float64, "sign": torch.int8, "permutation": torch.int64}


@register_part
@dataclass(frozen=True, eq=False)
class ChannelPart(Part):
    """First factors and signs, then another order of the channels.

    Args:
        symmetries: Of the model.
        scales: Positive factors by name, ``(size,)``; channels that are not named have factor 1.
        signs: 1 and -1 by name, ``(size,)``.
        permutations: By name which channel comes to each place, ``(size,)``.

    Raises:
        TeleportError: A name is none of the model's, a size is wrong, or a value is no factor, sign or order.
    """

    kind: ClassVar[str] = "channels"

    symmetries: Symmetries
    scales: Mapping[str, Tensor] = field(default_factory=dict)
    signs: Mapping[str, Tensor] = field(default_factory=dict)
    permutations: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, dtype in _TYPES.items():
            given: Mapping[str, Tensor] = getattr(self, f"{kind}s")
            problems = [text for name, values in given.items() for text in self._problems(kind, name, values)]
            if problems:
                raise TeleportError("no element of this model: " + "; ".join(problems))
            kept = {name: values.detach().to("cpu", dtype).clone() for name, values in given.items()}
            object.__setattr__(self, f"{kind}s", kept)

    def _problems(self, kind: str, name: str, values: Tensor) -> list[str]:
        size = self.symmetries.freedom(kind, name).size
        if tuple(values.shape) != (size,):
            return [f"{kind}s of {name} have shape {tuple(values.shape)} instead of ({size},)"]
        if kind == "permutation":
            whole = not values.is_floating_point() and torch.equal(
                values.detach().cpu().long().sort().values, torch.arange(size)
            )
            return [] if whole else [f"the order of {name} does not name each of {size} channels once"]
        numbers = values.detach().to("cpu", torch.float64)
        good = numbers.abs() == 1 if kind == "sign" else (numbers > 0) & numbers.isfinite()
        if bool(good.all()):
            return []
        worst = numbers[~good][0].item()
        return [
            f"{kind}s of {name} include {worst:g}" + (", which is not positive" if kind == "scale" else "")
        ]

    # --- What it does -----------------------------------------------------------------------------------

    @cached_property
    def changes(self) -> dict[str, Change]:
        """What happens to each parameter and buffer, by path; those that stay are left out."""
        scale, sign = self.symmetries.scale_table, self.symmetries.sign_table
        products = scale.entries(self._chosen("scale"))
        signs = sign.entries(self._chosen("sign"))
        orders = self.symmetries.orders(self.permutations)
        found = {}
        for name in self.symmetries.names:
            factor = np.ones(())
            epsilon = 0.0
            if name in scale.parameters:
                factor = factor * scale.factor(name, products)
                epsilon = scale.parameters[name].epsilon
            if name in sign.parameters:
                factor = factor * sign.factor(name, signs)
            # From the last axis on: the state of a module may have a batch axis in front, or none.
            rank = len(self.symmetries.tape.parameters[name].shape)
            order = {axis - rank: torch.from_numpy(index) for axis, index in orders.get(name, {}).items()}
            if order or (factor != 1).any():
                found[name] = Change(torch.from_numpy(np.array(factor)), epsilon, order)
        return found

    def _chosen(self, kind: str) -> np.ndarray:
        """Return the values of all freedoms of a kind as one vector."""
        given: Mapping[str, Tensor] = getattr(self, f"{kind}s")
        freedoms = self.symmetries.scales if kind == "scale" else self.symmetries.signs
        pieces = [given[f.name].double().numpy() if f.name in given else np.ones(f.size) for f in freedoms]
        return np.concatenate([np.empty(0), *pieces])

    def complete(self, kind: str) -> dict[str, Tensor]:
        """Return the values of all freedoms of a kind by name, with those that are not named."""
        given: Mapping[str, Tensor] = getattr(self, f"{kind}s")
        if kind == "permutation":
            freedoms = self.symmetries.permutations
            return {f.name: given.get(f.name, torch.arange(f.size)).clone() for f in freedoms}
        freedoms = self.symmetries.scales if kind == "scale" else self.symmetries.signs
        ones = {f.name: torch.ones(f.size, dtype=_TYPES[kind]) for f in freedoms}
        return {name: given.get(name, one).clone() for name, one in ones.items()}

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the new values of the parameters and buffers that change."""
        return {name: change.apply(tensors[name]) for name, change in self.changes.items()}

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return (
            all(bool((values == 1).all()) for values in (*self.scales.values(), *self.signs.values()))
            and all(torch.equal(order, torch.arange(len(order))) for order in self.permutations.values())
        )  # fmt: skip

    # --- The group --------------------------------------------------------------------------------------

    def then(self, later: Self) -> Self | None:
        """Return the part that does this one and then ``later``."""
        carried = later._before(self.permutations)
        if carried is None:
            return None
        scales, signs = carried
        orders = dict(self.permutations)
        for name, order in later.permutations.items():
            orders[name] = orders[name][order] if name in orders else order
        symmetries = self.symmetries
        return type(self)(
            symmetries,
            _parted(symmetries.scales, self._chosen("scale") * scales),
            _parted(symmetries.signs, self._chosen("sign") * signs),
            orders,
        )

    def inverse(self) -> Self:
        """Return the part that takes this one back."""
        back = {name: order.argsort() for name, order in self.permutations.items()}
        symmetries = self.symmetries
        undone = type(self)(
            symmetries,
            _parted(symmetries.scales, 1 / self._chosen("scale")),
            _parted(symmetries.signs, self._chosen("sign")),
        )
        carried = undone._before(back)
        if carried is None:
            raise TeleportError(
                "the order of the channels is no symmetry of their factors: undo them one by one."
            )
        return type(self)(
            symmetries, _parted(symmetries.scales, carried[0]), _parted(symmetries.signs, carried[1]), back
        )

    def _before(self, permutations: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the factors and signs that do before an order what these do after it."""
        scale, sign = self._chosen("scale"), self._chosen("sign")
        if not permutations:
            return scale, sign
        orders = self.symmetries.orders(permutations)
        tables = self.symmetries.scale_table, self.symmetries.sign_table
        found = [
            table.moved(table.entries(chosen), orders) if table.size else chosen
            for table, chosen in zip(tables, (scale, sign), strict=True)
        ]
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    # --- Files ------------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, Tensor]:
        """Return all values by kind and name."""
        return {f"{kind}/{name}": t for kind in _TYPES for name, t in getattr(self, f"{kind}s").items()}

    @classmethod
    def from_tensors(cls, symmetries: Symmetries, tensors: Mapping[str, Tensor]) -> Self:
        """Return the part that :meth:`to_tensors` wrote."""
        found: dict[str, dict[str, Tensor]] = {kind: {} for kind in _TYPES}
        for key, values in tensors.items():
            kind, _, name = key.partition("/")
            if kind not in found:
                raise FileFormatError(f"{key[:80]!r} is no scale, sign or permutation.")
            if values.dtype != _TYPES[kind]:
                raise FileFormatError(f"{key[:80]!r} holds {values.dtype} instead of {_TYPES[kind]}.")
            found[kind][name] = values
        return cls(symmetries, found["scale"], found["sign"], found["permutation"])


def _parted(freedoms: tuple, flat: np.ndarray) -> dict[str, Tensor]:
    """Return values by name, without freedoms of which all are 1."""
    bounds = np.cumsum([freedom.size for freedom in freedoms])[:-1]
    pieces = np.split(flat, bounds) if len(freedoms) else []
    found = zip(freedoms, pieces, strict=True)
    return {freedom.name: torch.from_numpy(piece.copy()) for freedom, piece in found if (piece != 1).any()}
