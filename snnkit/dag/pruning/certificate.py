"""The proof that comes with a smaller model: it computes what the masked model does."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from snnkit.dag.arguments import map_leaves
from snnkit.dag.channels import Coupling, Group
from snnkit.dag.dag_module import DagModule
from snnkit.dag.pruning.masking import masked
from snnkit.dag.pruning.removal import PruningError
from snnkit.dag.vertex import InnerVertex

__all__ = ["Certificate", "certify"]

_TOLERANCE = 1e-9
_RUNS = 2


@dataclass(frozen=True)
class Certificate:
    """How far the smaller model is from the model with the dropped channels' weights at zero.

    Both ran in float64 and evaluation mode on random inputs of the example's shapes.

    Args:
        error: Largest difference of an output, relative to the largest output.
        tolerance: Up to where the two count as equal.
        soft: The groups pruned of which dropping channels differs from setting weights to zero; with
            such groups the error is a distance, not a defect.
        runs: On how many inputs it was measured.
    """

    error: float
    tolerance: float
    soft: tuple[Group, ...]
    runs: int

    @property
    def exact(self) -> bool:
        """Whether the two are equal."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        if self.exact:
            return f"equal to the masked model: largest relative difference {self.error:.1e} in float64"
        names = ", ".join(group.name for group in self.soft)
        return f"differs from the masked model by {self.error:.2g} (soft groups: {names})"


def certify(
    dag: DagModule,
    smaller: DagModule,
    coupling: Coupling,
    keep: Mapping[Group, NDArray[np.bool_]],
    example_inputs: Any,
) -> Certificate:
    """Compare ``smaller`` with ``dag`` masked, on random inputs.

    Raises:
        PruningError: the smaller model does not run, or differs although all groups pruned are exact.
    """
    reference = _in_double(masked(dag, coupling, keep))
    candidate = _in_double(smaller.copy())
    generator = torch.Generator().manual_seed(0)
    soft = tuple(group for group in keep if group.soft)
    worst = 0.0
    for _ in range(_RUNS):
        inputs = tree_map(lambda leaf: _drawn(leaf, generator), example_inputs)
        try:
            found = _run(candidate, inputs)
        except Exception as failure:
            raise PruningError(
                f"The pruned model does not run: {type(failure).__name__}: {failure}. This is a defect of "
                "the pruning rules; please report the model."
            ) from failure
        worst = max(worst, _difference(_run(reference, inputs), found))
    certificate = Certificate(worst, _TOLERANCE, soft, _RUNS)
    if not certificate.exact and not soft:
        raise PruningError(
            f"The pruned model differs from the masked model by {worst:.2g}, relative to its largest output, "
            f"where at most {_TOLERANCE:g} is allowed. This is a defect of the coupling rules; please report "
            "the model."
        )
    return certificate


_DOUBLE = {torch.float16: torch.float64, torch.bfloat16: torch.float64, torch.float32: torch.float64,
           torch.complex32: torch.complex128, torch.complex64: torch.complex128}  # fmt: skip


def _in_double(dag: DagModule) -> DagModule:
    """Let a copy of a graph compute in double precision, also where its arguments name another type."""
    nn.Module.train(dag, False)
    dag._apply(lambda tensor: tensor.to(_DOUBLE.get(tensor.dtype, tensor.dtype)))
    for _, vertex in dag.traverse_paths():
        if isinstance(vertex, InnerVertex):
            vertex.args, vertex.kwargs = (
                map_leaves(_widened, vertex.args),
                map_leaves(_widened, vertex.kwargs),
            )
    return dag


def _widened(leaf: Any) -> Any:
    return _DOUBLE.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf


@contextmanager
def _double_by_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _drawn(leaf: Any, generator: torch.Generator) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if leaf.is_floating_point():
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
    if leaf.is_complex():
        return torch.randn(leaf.shape, generator=generator, dtype=torch.complex128)
    return torch.zeros(leaf.shape, dtype=leaf.dtype) if leaf.is_meta else leaf.cpu()


def _run(dag: DagModule, inputs: Any) -> list[Tensor]:
    with torch.no_grad(), _double_by_default(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs = dag(*inputs)
    return [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor)]


def _difference(expected: list[Tensor], found: list[Tensor]) -> float:
    worst = 0.0
    for one, other in zip(expected, found, strict=True):
        if one.shape != other.shape:
            raise PruningError(
                f"The pruned model returns shape {tuple(other.shape)}, not {tuple(one.shape)}."
            )
        if one.numel():
            kind = torch.promote_types(one.dtype, torch.float64)  # complex numbers stay complex
            scale = float(one.to(kind).abs().max()) or 1.0
            difference = float((one.to(kind) - other.to(kind)).abs().max()) / scale
            worst = max(worst, math.inf if math.isnan(difference) else difference)
    return worst
