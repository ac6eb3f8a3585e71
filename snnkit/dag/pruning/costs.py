"""What a model costs when of each group so many channels remain."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snnkit.dag.analysis.axes import Atom, Axis, Concat, leaves, resolved
from snnkit.dag.channels import Coupling, Group
from snnkit.dag.cost import pixels_of
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["COSTS", "CostModel", "Costs"]

COSTS = ("parameters", "macs", "kmapp")


@dataclass(frozen=True)
class Costs:
    """Size of a model.

    Args:
        parameters: Number of parameters; buffers are not counted.
        macs: Multiply-accumulates of one example: matrix products, convolutions, recurrent layers.
        kmapp: Thousands of multiply-accumulates per pixel of the input; None if that is no image.
    """

    parameters: int
    macs: int
    kmapp: float | None


class CostModel:
    """Counts of a model as functions of the numbers of channels, which may be tensors with gradients.

    With all channels they are what :meth:`~snnkit.dag.DagModule.cost` counts vertex by vertex.
    The batch of the example inputs is divided out, as far as every operation runs once per example.
    """

    def __init__(self, coupling: Coupling) -> None:
        p = coupling.propagation
        parameters = [v for v in coupling.tape.parameters.values() if v.kind == "parameter"]
        groups = {group.atom for group in coupling.groups}
        self._parameters = _Polynomial([p.of(value) for value in parameters], groups)
        self._macs = _Polynomial([cost.axes for cost in coupling.costs], groups)
        shapes = [value.shape for value in coupling.tape.inputs]
        self._batch = shapes[0][0] if shapes and shapes[0] else 1
        pixels = pixels_of(shapes[0]) if shapes else None
        self._pixels = pixels and pixels // self._batch

    def __call__(self, counts: Mapping[Group, Any]) -> Costs:
        """Return the costs if of each group in ``counts`` so many channels remain, of others all."""
        by_atom = {group.atom: count for group, count in counts.items()}
        macs = self._macs(by_atom) / self._batch
        kmapp = macs / (1000 * self._pixels) if self._pixels else None
        return Costs(self._parameters(by_atom), macs, kmapp)

    def of(self, name: str, counts: Mapping[Group, Any]) -> Any:
        """Return one of the costs; a tensor, if the numbers of channels are.

        Raises:
            ConfigurationError: there is no such cost, or the model has none.
        """
        if name not in COSTS:
            raise ConfigurationError(unknown_key_message("cost", name, COSTS))
        found = getattr(self(counts), name)
        if found is None:
            raise ConfigurationError(
                "kmapp counts per pixel, and the model's first input is no image (batch, channels, height, "
                "width): use macs."
            )
        return found


class _Polynomial:
    """A sum of products of sizes of axes; those without groups are counted once."""

    def __init__(self, terms: list[tuple[Axis, ...]], groups: set[Atom]) -> None:
        self._constant = 0
        self._terms: list[tuple[int, tuple[Axis, ...]]] = []
        for axes in terms:
            free = tuple(axis for axis in axes if any(atom in groups for atom in leaves(axis)))
            fixed = math.prod(axis.size for axis in axes if axis not in free)
            if free:
                self._terms.append((fixed, free))
            else:
                self._constant += fixed

    def __call__(self, counts: Mapping[Atom, Any]) -> Any:
        total: Any = self._constant
        for fixed, axes in self._terms:
            product: Any = fixed
            for axis in axes:
                product = product * _size(axis, counts)
            total = total + product
        return total


def _size(axis: Axis, counts: Mapping[Atom, Any]) -> Any:
    axis = resolved(axis)
    if isinstance(axis, Atom):
        return counts.get(axis, axis.size)
    sizes = [_size(child, counts) for child in axis.children]
    return sum(sizes) if isinstance(axis, Concat) else math.prod(sizes)
