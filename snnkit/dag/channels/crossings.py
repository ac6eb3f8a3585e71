"""What the operations that a group's channels run through do to a scale of the channels.

Multiplying a channel by ``c > 0`` and what reads it by ``1/c`` leaves a model as it is only if everything
between is positively homogeneous. Each crossing says so by its role, and multiplications by their degrees,
which give linear relations between logarithms of scales: ``log c_out = sum_i degree_i log c_i``.
"""

from dataclasses import dataclass
from typing import Any

import torch

from snnkit.dag.analysis.axes import Atom, leaves
from snnkit.dag.analysis.flow import all_inputs, pointwise
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules import entry_of
from snnkit.dag.analysis.tape import Operation, Value

__all__ = ["Crossing", "crossings_of"]

_PROBES = 16
_DEGREES = (1.0, -1.0, 2.0, 0.5, -0.5, 3.0, 0.0)
_LINEAR = (
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "mv",
    "addmv",
    "dot",
    "linear",
    "convolution",
    "matmul",
    "embedding",
)


@dataclass(frozen=True, eq=False)
class Crossing:
    """One operation whose result has the channels of a group.

    Args:
        operation: The operation.
        role: ``linear`` (sums, products with weights, views), ``affine`` (a batch norm with stored
        statistics),
            ``homogeneous`` (all operands that have the channels scale together: ReLU, addition, maximum),
            ``multiplicative`` (scales multiply as ``degrees`` say), ``normalising`` (a scale of the input is
            lost), ``nonlinear``, or ``module`` (a module with rules of its own).
        degrees: Of a homogeneous or multiplicative operation, one for each operand that has the channels.
    """

    operation: Operation
    role: str
    degrees: tuple[float, ...] = ()

    @property
    def lets_scales_pass(self) -> bool:
        """Whether a positive factor of the channels comes out as it went in."""
        return self.role in ("linear", "affine", "homogeneous")


def crossings_of(atom: Atom, operations: tuple[Operation, ...], p: Propagation) -> tuple[Crossing, ...]:
    """Return what each operation does to the channels of ``atom``."""
    return tuple(_crossing(op, atom, p) for op in operations)


def _crossing(op: Operation, atom: Atom, p: Propagation) -> Crossing:
    kind = op.kind.removeprefix("aten.").rstrip("_")
    entry = entry_of(op)
    if not hasattr(op.target, "_schema"):
        return Crossing(op, "module")
    if "batch_norm" in kind:
        stored = not op.argument("training") and op.argument("running_mean") is not None
        return Crossing(op, "affine" if stored else "normalising")
    if "norm" in kind and kind not in ("norm", "linalg_vector_norm"):
        return Crossing(op, "normalising")
    if entry is not None and entry.flow is pointwise:
        return _probed(op, [_has(value, atom, p) for value in op.inputs])
    if kind in _LINEAR or (entry is not None and entry.flow is all_inputs and not _is_statistic(kind)):
        return Crossing(op, "linear")
    return Crossing(op, "nonlinear")


def _is_statistic(kind: str) -> bool:
    return kind in ("var", "std", "var_mean", "std_mean", "prod", "logsumexp", "all", "any")


def _has(value: Value, atom: Atom, p: Propagation) -> bool:
    return any(leaf is atom for axis in p.of(value) for leaf in leaves(axis))


def _probed(op: Operation, carries: list[bool]) -> Crossing:
    plain = _run(op, [1.0] * len(carries))
    if plain is None:
        return Crossing(op, "nonlinear")
    together = _run(op, [2.0 if carried else 1.0 for carried in carries])
    alone = [
        _degree(plain, _run(op, [2.0 if j == i else 1.0 for j in range(len(carries))]))
        for i, carried in enumerate(carries)
        if carried
    ]
    degrees = tuple(degree for degree in alone if degree is not None)
    if len(degrees) == len(alone):
        return Crossing(op, "homogeneous" if degrees == (1.0,) else "multiplicative", degrees)
    if _degree(plain, together) == 1.0:
        return Crossing(op, "homogeneous", (1.0,) * len(alone))
    return Crossing(op, "nonlinear")


def _degree(plain: torch.Tensor, scaled: torch.Tensor | None) -> float | None:
    if scaled is None:
        return None
    for degree in _DEGREES:
        if torch.allclose(scaled, plain * 2.0**degree, rtol=1e-9, atol=1e-12):
            return degree
    return None


def _run(op: Operation, factors: list[float]) -> torch.Tensor | None:
    """Run a pointwise operation on random numbers, its tensors multiplied by ``factors``."""
    generator = torch.Generator().manual_seed(0)
    remaining = iter(factors)

    def number(given: Any) -> Any:
        if isinstance(given, Value):
            factor = next(remaining)
            drawn = 3 * torch.randn(_PROBES, generator=generator, dtype=torch.float64)
            return drawn * factor if given.dtype.is_floating_point else drawn > 0
        if isinstance(given, list | tuple):
            return type(given)(number(item) for item in given)
        return torch.device("cpu") if isinstance(given, torch.device) else given

    arguments = {name: number(given) for name, given in op.arguments.items()}
    positional = [arguments.pop(a.name) for a in op.target._schema.arguments if not a.kwarg_only]
    try:
        with torch.no_grad():
            result = op.target(*positional, **arguments)
    except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError):
        return None
    first = result[0] if isinstance(result, list | tuple) else result
    finite = isinstance(first, torch.Tensor) and first.is_floating_point() and bool(first.isfinite().all())
    return first if finite else None
