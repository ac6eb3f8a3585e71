"""Parameters as linear maps read them: which elements of memory an argument of an operation consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from snnkit.dag.analysis.tape import Value

__all__ = ["Given", "View", "positions_of"]

Arrange = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class View:
    """Elements of a parameter on a regular grid.

    Args:
        name: Path of the parameter.
        offset: Position of the first element in the parameter, laid out contiguously.
        sizes: Number of elements along each axis.
        strides: Distance of neighbours along each axis.
    """

    name: str
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, tensor: Tensor) -> Tensor:
        """Return the elements of a contiguous tensor, sharing its memory."""
        return tensor.as_strided(self.sizes, self.strides, tensor.storage_offset() + self.offset)

    def chosen(self, axis: int, index: int) -> "View":
        """Return the elements at one index of an axis, without the axis."""
        offset = self.offset + index * self.strides[axis]
        sizes = self.sizes[:axis] + self.sizes[axis + 1 :]
        return View(self.name, offset, sizes, self.strides[:axis] + self.strides[axis + 1 :])

    def cut(self, axis: int, start: int, length: int) -> "View":
        """Return ``length`` indices of an axis from ``start`` on."""
        sizes = (*self.sizes[:axis], length, *self.sizes[axis + 1 :])
        return View(self.name, self.offset + start * self.strides[axis], sizes, self.strides)

    def in_order(self) -> "View":
        """Return the same elements with the axes in the order in which they lie in memory."""
        grid = sorted(((s, n) for s, n in zip(self.strides, self.sizes, strict=True) if n > 1), reverse=True)
        return View(self.name, self.offset, tuple(n for _, n in grid), tuple(s for s, _ in grid))

    @property
    def end(self) -> int:
        """Number of elements that the parameter must have at least."""
        return self.offset + sum((n - 1) * s for n, s in zip(self.sizes, self.strides, strict=True)) + 1

    def elements(self) -> Tensor:
        """Return the positions of all elements in the parameter."""
        found = torch.full((1,), self.offset)
        for size, stride in zip(self.sizes, self.strides, strict=True):
            found = (found[:, None] + torch.arange(size) * stride).reshape(-1)
        return found


@dataclass(frozen=True, eq=False)
class Given:
    """A tensor made from one parameter by arranging its elements.

    Args:
        source: The parameter or persistent buffer.
        shape: Sizes of the tensor.
        make: Arranges anything of the source's shape as the elements of the tensor are.
    """

    source: Value
    shape: tuple[int, ...]
    make: Arrange

    def then(self, arrange: Arrange, shape: tuple[int, ...]) -> "Given":
        """Return the tensor after a further arrangement."""
        return Given(self.source, shape, lambda tensor: arrange(self.make(tensor)))

    @cached_property
    def elements(self) -> Tensor:
        """Position in the source of every element."""
        return self.make(positions_of(self.source))

    @cached_property
    def view(self) -> View | None:
        """The tensor as a regular grid of the source's elements; None if it is no such grid."""
        # Without memory first: most arrangements of weights are views, and embeddings are large.
        whole = torch.empty(self.source.shape, device="meta")
        arranged = self.make(whole)
        if arranged.untyped_storage()._cdata == whole.untyped_storage()._cdata:
            return View(self.source.name, int(arranged.storage_offset()), self.shape, arranged.stride())
        return _grid_of(self.source.name, self.elements)


def _grid_of(name: str, found: Tensor) -> View | None:
    if found.numel() == 0:
        return None
    first = int(found.flatten()[0])
    strides = tuple(
        int(found.select(axis, 1).flatten()[0]) - first if size > 1 else 0
        for axis, size in enumerate(found.shape)
    )
    expected = torch.full(found.shape, first)
    for axis, stride in enumerate(strides):
        steps = torch.arange(found.shape[axis]) * stride
        expected += steps.reshape([-1] + [1] * (found.dim() - axis - 1))
    if min(strides, default=0) < 0 or not torch.equal(expected, found):
        return None
    return View(name, first, tuple(found.shape), strides)


def positions_of(value: Value) -> Tensor:
    """Return the position of every element of a parameter."""
    return torch.arange(prod(value.shape)).reshape(value.shape)
