"""Where a tensor is exactly zero once the weights of an index are set to zero.

Dropping an index equals setting its weights to zero if nothing that remains can tell the difference. What
sums over the index must then see zeros: through zero columns of a weight, or because the activation itself is
zero there. A *flow* says, for one kind of operation, whether its result is zero at the index, given which of
its inputs are. It is asked per atom: ``query(value)`` is True if the value is zero there, False if it may not
be, and None if the value has no such axis.
"""

from collections.abc import Callable
from typing import Any

import torch

from snnkit.dag.analysis.probing import run_on_numbers
from snnkit.dag.analysis.tape import Operation, Value, values_in

__all__ = ["Flow", "Query", "all_inputs", "never", "pointwise", "product_of"]

Query = Callable[[Value], bool | None]
Flow = Callable[[Operation, Query], bool]

_PROBES = 16


def never(op: Operation, query: Query) -> bool:
    """The result may be anything."""
    return False


def all_inputs(op: Operation, query: Query) -> bool:
    """The result is zero where every input that has the axis is: views, sums, joins."""
    found = [query(value) for value in op.inputs]
    return any(found) and all(answer is not False for answer in found)


def product_of(*factors: str, plus: tuple[str, ...] = ()) -> Flow:
    """The result is a sum of products of the arguments ``factors``, plus the arguments ``plus``."""

    def flow(op: Operation, query: Query) -> bool:
        terms = [value for name in plus for value in values_in(op.argument(name))]
        values = [value for name in factors for value in values_in(op.argument(name))]
        return any(query(value) for value in values) and all(query(term) for term in terms)

    return flow


_answers: dict[Any, bool] = {}


def pointwise(op: Operation, query: Query) -> bool:
    """The result is zero if the function is, tried on numbers."""
    zeros = tuple(query(value) is True for value in op.inputs)
    if not any(zeros):
        return False
    scalars = tuple((name, repr(given)) for name, given in op.arguments.items() if not _holds_values(given))
    key = (op.target, zeros, scalars, tuple(value.dtype for value in op.inputs))
    if key not in _answers:
        _answers[key] = _probe(op, zeros)
    return _answers[key]


def _holds_values(given: Any) -> bool:
    return next(values_in(given), None) is not None


def _probe(op: Operation, zeros: tuple[bool, ...]) -> bool:
    generator = torch.Generator().manual_seed(0)
    flags = iter(zeros)
    result = run_on_numbers(op, lambda value: _numbers(value.dtype, next(flags), generator))
    first = result[0] if isinstance(result, list | tuple) else result
    return isinstance(first, torch.Tensor) and bool((first == 0).all())


def _numbers(dtype: torch.dtype, zero: bool, generator: torch.Generator) -> torch.Tensor:
    if zero:
        return torch.zeros(_PROBES, dtype=dtype)
    numbers = 3 * torch.randn(_PROBES, generator=generator, dtype=torch.float64)
    return numbers > 0 if dtype == torch.bool else numbers.to(dtype)
