"""What a captured graph may be called with: the shapes, types and constants of its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .arguments import leaves, map_leaves, same
from .errors import GraphError

if TYPE_CHECKING:
    from .dag_module import DagModule

__all__ = ["Signature", "TensorSpec"]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as capture saw it.

    Attributes:
        shape: Its sizes.
        dtype: Its type.
        free: The axes that may have other sizes, as a rule the batch.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    free: tuple[int, ...] = ()

    def misfit(self, value: Any) -> str | None:
        """Say in what way ``value`` does not fit; None if it does."""
        if not isinstance(value, Tensor):
            return f"a tensor is needed, not {type(value).__name__}"
        shape = tuple(value.shape)
        fits = len(shape) == len(self.shape) and all(
            axis in self.free or size == fixed
            for axis, (size, fixed) in enumerate(zip(shape, self.shape, strict=True))
        )
        if not fits:
            return f"shape {shape} does not fit {self}"
        if value.dtype.is_floating_point != self.dtype.is_floating_point:
            return f"type {value.dtype} is not like {self.dtype}"
        return None

    def __str__(self) -> str:
        sizes = ", ".join("*" if axis in self.free else str(size) for axis, size in enumerate(self.shape))
        return f"({sizes}{',' if len(self.shape) == 1 else ''})"


@dataclass(frozen=True)
class Signature:
    """What was supplied at capture, and what may be supplied in its place.

    Attributes:
        inputs: For each input vertex a tree: a :class:`TensorSpec` for each tensor; other values are part
            of the graph and must be given again as they were.
        why_fixed: Why axes that are not free must keep their sizes.
        training: The only mode for which the graph holds; None for both.
        why_mode: Why it does not hold for the other.
    """

    inputs: Mapping[str, Any]
    why_fixed: str = ""
    training: bool | None = None
    why_mode: str = ""

    def check(self, graph: "DagModule", values: Mapping[str, Any]) -> None:
        """Raise GraphError unless the values fit, and the graph is in a mode for which it holds."""
        if self.training is not None and graph.training != self.training:
            mode = "train" if self.training else "eval"
            raise GraphError(
                f"{graph.title} was captured in {mode}() and holds for that only. {self.why_mode}"
            )
        for name, spec in self.inputs.items():
            for place, problem in _misfits(spec, values[name], name):
                why = f" {self.why_fixed}" if problem.startswith("shape") else ""
                raise GraphError(f"{graph.title}: input {place}: {problem}.{why}")

    def examples(self, device: torch.device) -> tuple[Any, ...]:
        """Return zeros of the shapes at capture, in the order of the inputs."""

        def example(spec: Any) -> Any:
            if isinstance(spec, TensorSpec):
                return torch.zeros(spec.shape, dtype=spec.dtype, device=device)
            return spec

        return tuple(map_leaves(example, spec) for spec in self.inputs.values())

    def tensors(self) -> list[TensorSpec]:
        """Return the tensors of all inputs, in order."""
        return [leaf for leaf in leaves(list(self.inputs.values())) if isinstance(leaf, TensorSpec)]


def _misfits(spec: Any, value: Any, place: str) -> list[tuple[str, str]]:
    if isinstance(spec, TensorSpec):
        problem = spec.misfit(value)
        return [(place, problem)] if problem else []
    if isinstance(spec, list | tuple) and type(spec) is type(value) and len(spec) == len(value):
        pairs = enumerate(zip(spec, value, strict=True))
        return [found for i, (a, b) in pairs for found in _misfits(a, b, f"{place}[{i}]")]
    if isinstance(spec, dict) and isinstance(value, dict) and list(spec) == list(value):
        return [found for key in spec for found in _misfits(spec[key], value[key], f"{place}[{key!r}]")]
    if same(spec, value):
        return []
    return [(place, f"the graph holds for {spec!r} only, not for {value!r}")]
