"""The sizes of tensors after removal, which every number that is a size is derived from."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from snnkit.dag.analysis.tape import Value, VertexCall, values_in
from snnkit.dag.channels import Coupling, Group
from snnkit.dag.channels.groups import remaining
from snnkit.dag.pruning.numbers import Numbers

__all__ = ["NewSizes", "Sizes"]


class Sizes:
    """Shapes before and after, by value of the tape.

    Args:
        coupling: Of the model before.
        keep: Which channels remain, of the groups that lose some.
    """

    def __init__(self, coupling: Coupling, keep: Mapping[Group, NDArray[np.bool_]]) -> None:
        self.coupling = coupling
        self.keep = dict(keep)
        self._counts = {group: int(mask.sum()) for group, mask in self.keep.items()}

    def new_shape(self, value: Value) -> tuple[int, ...]:
        """Return the shape after removal; of values that nothing reads, the shape before."""
        if value.index not in self.coupling.propagation.axes:
            return value.shape
        return self.coupling.sizes_of(value, self._counts)

    def kept(self, value: Value, axis: int) -> NDArray[np.bool_]:
        """Return which indices of an axis remain."""
        if value.index not in self.coupling.propagation.axes:
            return np.ones(value.shape[axis], bool)
        return self.coupling.keep_of(value, axis, self.keep)

    def changed(self, value: Value) -> bool:
        """Whether the tensor gets smaller."""
        return self.new_shape(value) != value.shape

    def of_call(self, call: VertexCall, numbers: Numbers) -> "NewSizes":
        """Return the sizes around one vertex."""
        return NewSizes(self, call, numbers)


class NewSizes:
    """Shapes after removal of what one vertex reads and returns.

    Attributes:
        inputs: The tensors it reads, in order.
        results: The tensors it returns.
    """

    def __init__(self, sizes: Sizes, call: VertexCall, numbers: Numbers) -> None:
        self.sizes = sizes
        self.numbers = numbers
        self.call = call
        self.inputs = tuple(values_in(call.arguments))
        self.results = tuple(values_in(call.results))

    @cached_property
    def changed(self) -> bool:
        """Whether a tensor that it reads or returns gets smaller."""
        return any(self.sizes.changed(value) for value in (*self.inputs, *self.results))

    def input_shape(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of an input after removal."""
        return self.sizes.new_shape(self.inputs[position])

    def result_shape(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of a result after removal."""
        return self.sizes.new_shape(self.results[position])

    def number(self, name: str, default: int) -> int:
        """Return a number that an operation inside takes from an axis, such as its ``groups``."""
        counts = {group.atom: int(mask.sum()) for group, mask in self.sizes.keep.items()}
        notes = self.sizes.coupling.propagation.notes
        for index in self.call.operations:
            axis = notes.get((index, name))
            if axis is not None:
                return remaining(axis, counts)
        return default
