"""What a function of numbers does when its arguments are multiplied, found by trying it.

The numbers are of all magnitudes, so that a bound at 6, an epsilon of 1e-12 or a table of a few pieces is
seen, and the factors are 2 and 3, so that rounding to powers of two is.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from snnkit.dag.analysis.probing import run_on_numbers
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.scales.unknowns import Kind

__all__ = ["Degrees", "degrees_of"]

_EACH = 24
_FEWEST = 8
_DECADES = 41.0
_STEPS_PER_DECADE = 4
_MOST_TRIED_TOGETHER = 4


@dataclass(frozen=True)
class Degrees:
    """How the result of a function scales with its floating-point arguments.

    Args:
        single: By argument, the power of its factor in the result, whatever the others do; None if there is
            none.
        joint: Arguments that must have one factor in common.
        joint_degree: The power of that factor.
    """

    single: tuple[Fraction | None, ...]
    joint: tuple[int, ...] = ()
    joint_degree: Fraction = Fraction(1)


_answers: dict[Any, Degrees] = {}


def degrees_of(op: Operation, kind: Kind) -> Degrees:
    """Return how an operation that works element by element scales; each question is asked once."""
    values = tuple((v.dtype, v.dtype.is_floating_point) for v in op.inputs)
    scalars = tuple((name, _spelled(given)) for name, given in op.arguments.items())
    key = (op.target, kind, values, scalars)
    if key not in _answers:
        with torch.random.fork_rng(devices=[]):  # functions that draw numbers draw none of the user's
            _answers[key] = _tried(op, kind)
    return _answers[key]


def _spelled(given: Any) -> str:
    if isinstance(given, Value):
        return "tensor"
    if isinstance(given, list | tuple):
        return f"[{', '.join(map(_spelled, given))}]"
    return repr(given)


def _tried(op: Operation, kind: Kind) -> Degrees:
    factors = (-1.0,) if kind == "sign" else (2.0, 3.0)
    count = sum(value.dtype.is_floating_point for value in op.inputs)
    plain = _run(op, [1.0] * count)
    if plain is None:
        return Degrees((None,) * count)

    def degree(scaled: tuple[int, ...]) -> Fraction | None:
        found = set()
        for factor in factors:
            result = _run(op, [factor if i in scaled else 1.0 for i in range(count)])
            found.add(None if result is None else _power(plain, result, factor))
        return found.pop() if len(found) == 1 else None

    single = tuple(degree((i,)) for i in range(count))
    rest = [i for i, found in enumerate(single) if found is None]
    if len(rest) <= _MOST_TRIED_TOGETHER:
        for size in range(len(rest), 1, -1):
            for together in combinations(rest, size):
                found = degree(together)
                if found is not None:
                    return Degrees(single, together, found)
    return Degrees(single)


def _power(plain: Tensor, scaled: Tensor, factor: float) -> Fraction | None:
    """Return the power of ``factor`` that is between two results, if it is one for all numbers."""
    if not plain.is_floating_point():
        return Fraction(0) if torch.equal(plain, scaled) else None
    if not torch.equal(plain.isnan(), scaled.isnan()):
        return None
    numbers = ~plain.isnan()
    one, other = plain[numbers], scaled[numbers]
    if factor < 0:
        return _sign_power(one, other)
    both_infinite = one.isinf() & other.isinf()
    if not torch.equal(one[both_infinite], other[both_infinite]) or not torch.equal(one == 0, other == 0):
        return None
    finite = one.isfinite() & other.isfinite() & (one != 0)  # doubling may overflow
    one, other = one[finite], other[finite]
    if len(one) < _FEWEST:
        return None
    quotient = torch.log((other / one).abs().median()) / torch.log(torch.tensor(factor).double())
    power = Fraction(float(quotient)).limit_denominator(12)
    wanted = one * factor ** float(power)
    return power if bool(torch.isclose(other, wanted, rtol=1e-9, atol=0.0).all()) else None


def _sign_power(one: Tensor, other: Tensor) -> Fraction | None:
    if len(one) < _FEWEST:
        return None
    if torch.equal(one, other):
        return Fraction(0)
    return Fraction(1) if torch.equal(-one, other) else None


def _run(op: Operation, factors: list[float]) -> Tensor | None:
    """Run an operation on numbers, its floating-point tensors multiplied by ``factors``."""
    generator = torch.Generator().manual_seed(0)
    remaining = iter(factors)

    def number(given: Value) -> Tensor:
        drawn = _numbers(generator)
        if given.dtype.is_floating_point:
            return drawn * next(remaining)
        return drawn > 0 if given.dtype == torch.bool else drawn.clamp(-50, 50).to(given.dtype)

    result = run_on_numbers(op, number)
    return result if isinstance(result, Tensor) and not result.is_complex() else None


def _numbers(generator: torch.Generator) -> Tensor:
    """Return ordinary, tiny and huge numbers of both signs: all arguments alike, then mixed.

    Neighbouring magnitudes are less than a factor of 2 apart, so that a jump at any place from 1e-41 to 1e41
    lies between some number and its double.
    """
    usual = 3 * torch.randn(_EACH, generator=generator, dtype=torch.float64)
    count = 2 * int(_STEPS_PER_DECADE * _DECADES) + 1
    exponents = torch.linspace(-_DECADES, _DECADES, count, dtype=torch.float64).expand(2, -1)
    jitter = 0.1 * torch.rand(2, count, generator=generator, dtype=torch.float64) / _STEPS_PER_DECADE
    graded = 10.0 ** (exponents + jitter) * torch.tensor([[1.0], [-1.0]])
    alike = torch.cat([usual, *graded])
    return torch.cat([alike, alike[torch.randperm(len(alike), generator=generator)]])
