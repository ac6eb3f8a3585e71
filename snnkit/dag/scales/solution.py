"""The factors that the channels of a model may take: free ones, and what each parameter takes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.recording import record
from snnkit.dag.analysis.tape import Tape
from snnkit.dag.channels.groups import CouplingError
from snnkit.dag.errors import GraphError
from snnkit.dag.scales.elimination import Row
from snnkit.dag.scales.flow import BATCH_NORMS, ScaleFlow
from snnkit.dag.scales.unknowns import Ids, Kind, Term, Unknowns
from snnkit.utilities.errors import unknown_key_message

__all__ = ["ParameterScale", "Scales", "scales", "scales_of_tape"]


@dataclass(frozen=True, eq=False)
class ParameterScale:
    """The factor of every element of a parameter or buffer.

    Its logarithm is the sum of ``coefficient * x[ids]`` over the terms, where ``x`` are the logarithms of all
    unknowns and the arrays broadcast against the tensor. Unknown 0 has factor 1.

    Args:
        shape: Of the tensor.
        terms: Coefficients and arrays of unknowns.
        epsilon: What is added to the tensor before the factor is taken, and subtracted again: of a variance.
    """

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    epsilon: float = 0.0


class Scales:
    """Which factors, or signs, the tensors of a model may take. Made by :func:`scales`.

    Attributes:
        kind: "positive" or "sign".
        tape: The operations this was found from.
        parameters: Terms of the parameters and buffers that take factors, by path.
        free: The unknowns that may have any value, each in some parameter, in the order of the parameters.
    """

    def __init__(self, flow: ScaleFlow) -> None:
        self.kind: Kind = flow.kind
        self.tape: Tape = flow.tape
        self._unknowns: Unknowns = flow.unknowns
        self._raw = flow.parameter_terms()
        self.parameters: dict[str, ParameterScale] = {}
        for name, terms in self._raw.items():
            kept = self._settled(terms)
            if kept:
                shape = flow.tape.parameters[name].shape
                self.parameters[name] = ParameterScale(shape, kept, flow.epsilons.get(name, 0.0))
        self.free: tuple[int, ...] = tuple(self.first_uses)

    def _settled(self, terms: tuple[Term, ...]) -> tuple[Term, ...]:
        """Return terms with one unknown for all that are equal, without those that are all zero or cancel."""
        found: list[Term] = []
        for coefficient, raw in terms:
            ids = self._zeroed(self._unknowns.canonical(raw))
            if ids.any() and not (self.kind == "sign" and coefficient % 2 == 0):
                found.append((coefficient, ids))
        return tuple(found)

    def _zeroed(self, ids: Ids) -> Ids:
        zero = [u for u in np.unique(ids).tolist() if u and not self.expression(u)]
        return np.where(np.isin(ids, zero), 0, ids) if zero else ids

    def expression(self, unknown: int) -> Row:
        """Return the logarithm of an unknown as a sum of free ones: coefficients by unknown."""
        return self._unknowns.expression(unknown)

    @cached_property
    def first_uses(self) -> dict[int, str]:
        """The parameter that each free unknown is named after: the first that it makes, or else reads."""
        uses: dict[int, str] = {}
        for makes in (True, False):
            for name, scale in self.parameters.items():
                for coefficient, ids in scale.terms:
                    if (coefficient > 0) == makes:
                        for unknown in in_order(ids):
                            for free in self.expression(unknown):
                                uses.setdefault(free, name)
        order = {name: position for position, name in enumerate(self.tape.parameters)}
        return dict(sorted(uses.items(), key=lambda item: order[item[1]]))

    @cached_property
    def used(self) -> dict[int, Row]:
        """All unknowns in the terms of parameters, each as a sum of free ones."""
        arrays = [ids.ravel() for scale in self.parameters.values() for _, ids in scale.terms]
        unknowns = np.unique(np.concatenate(arrays)).tolist() if arrays else []
        return {unknown: self.expression(unknown) for unknown in unknowns if unknown}

    def why(self, name: str, axis: int = 0) -> tuple[Reason, ...]:
        """Say why channels on an axis of a parameter have factor 1; empty if none has.

        Raises:
            CouplingError: There is no such parameter or axis.
        """
        name = self.tape.aliases.get(name, name)
        if name not in self.tape.parameters:
            raise CouplingError(unknown_key_message("parameter", name, self.tape.parameters))
        shape = self.tape.parameters[name].shape
        if not -len(shape) <= axis < len(shape):
            raise CouplingError(f"{name!r} has {len(shape)} axes; there is no axis {axis}.")
        axis %= len(shape)
        terms = self._raw.get(name, ())
        along = [ids for _, ids in terms if _reaches(ids, len(shape), axis)]
        if not terms:
            return (Reason("nothing that lets factors pass reads it"),)
        found = [reason for ids in along for reason in self._unknowns.why(ids)]
        return tuple(dict.fromkeys(found))


def in_order(ids: Ids) -> list[int]:
    """Return the unknowns of an array, each once, in the order in which they come first, without 0."""
    unknowns, first = np.unique(ids, return_index=True)
    found: list[int] = unknowns[np.argsort(first)].tolist()
    return [unknown for unknown in found if unknown]


def _reaches(ids: Ids, rank: int, axis: int) -> bool:
    padded = (1,) * (rank - ids.ndim) + ids.shape
    return padded[axis] > 1 or (ids.size == 1 and axis == 0)


def scales_of_tape(tape: Tape, kind: Kind = "positive", batch_norm: str = "statistics") -> Scales:
    """Return the factors of a model that was already recorded; see :func:`scales`."""
    if kind not in ("positive", "sign"):
        raise GraphError(unknown_key_message("kind of factor", kind, ("positive", "sign")))
    if batch_norm not in BATCH_NORMS:
        raise GraphError(unknown_key_message("treatment of batch norm", batch_norm, BATCH_NORMS))
    flow = ScaleFlow(tape, kind, batch_norm)
    flow.run()
    return Scales(flow)


def scales(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    kind: Kind = "positive",
    batch_norm: str = "statistics",
) -> Scales:
    """Find out which factors the elements of a model's parameters may take, so that its function stays.

    Args:
        model: Any module; it is not changed.
        example_inputs: A tensor, or the positional arguments.
        example_kwargs: Keyword arguments.
        kind: "positive" factors, or "sign": factors 1 and -1.
        batch_norm: What takes the factor of the input of a batch normalisation with stored statistics:
            "statistics" (mean and variance; in training mode exact up to epsilon), "gain" (mean and gain;
            exact in evaluation mode only), "fixed" (nothing: the factor is 1).

    Raises:
        TapeError: The model does not run on these inputs.
        GraphError: There is no such kind or treatment.
    """
    return scales_of_tape(record(model, example_inputs, example_kwargs), kind, batch_norm)
