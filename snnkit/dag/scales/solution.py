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
        barriers: Operations without a rule, which hold all they touch at 1, and how often they occur.
    """

    def __init__(self, flow: ScaleFlow) -> None:
        self.kind: Kind = flow.kind
        self.tape: Tape = flow.tape
        self._unknowns: Unknowns = flow.unknowns
        self._raw = flow.parameter_terms()
        self.barriers: dict[str, int] = dict(flow.barriers)
        self.parameters: dict[str, ParameterScale] = {}
        for name, terms in self._raw.items():
            settled = [(c, self._unknowns.canonical(ids)) for c, ids in terms]
            kept = tuple((c, ids) for c, ids in settled if ids.any() and (self.kind == "positive" or c % 2))
            if kept:
                shape = flow.tape.parameters[name].shape
                self.parameters[name] = ParameterScale(shape, kept, flow.epsilons.get(name, 0.0))

    @property
    def derived(self) -> Mapping[int, Row]:
        """Unknowns that follow from free ones: the logarithm of each as a sum, coefficients by unknown."""
        return self._unknowns.derived

    @cached_property
    def first_uses(self) -> dict[int, str]:
        """The free unknowns, each with the parameter that it is named after: the first that makes it, or
        reads it.

        They are in the order of the parameters, and of the channels within each.
        """
        uses: dict[int, str] = {}
        for makes in (True, False):
            for name, scale in self.parameters.items():
                for coefficient, ids in scale.terms:
                    if (coefficient > 0) == makes:
                        for unknown in in_order(ids):
                            for free in self.derived.get(unknown, (unknown,)):
                                uses.setdefault(free, name)
        order = {name: position for position, name in enumerate(self.tape.parameters)}
        return dict(sorted(uses.items(), key=lambda item: order[item[1]]))

    @cached_property
    def used(self) -> Ids:
        """All unknowns in the terms of parameters, in order."""
        arrays = [np.unique(ids) for scale in self.parameters.values() for _, ids in scale.terms]
        return np.unique(np.concatenate([np.zeros(1, np.int64), *arrays]))

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
