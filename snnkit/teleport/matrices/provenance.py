"""What every element of a tensor is, written as two integers.

An element of a hidden tensor is a *coordinate* seen through a *functional*: in the output of a linear layer,
the coordinate is the row of the weight and the functional is the position (sample, token). Views move both
numbers along; attention mixes positions, so that the functional changes, and leaves coordinates as they are.
Two elements with equal functionals and different coordinates are what a matrix may mix: if the coordinates
``h`` become ``A h``, the elements become ``A`` times what they were.

Functionals are 64-bit hashes. That two different ones agree by chance is less likely than an error of the
memory that holds them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FOREIGN", "ZERO", "Tracked", "mixed", "positions", "start_of_runs"]

FOREIGN = -1  # an element that is no coordinate: nothing may be mixed with it
ZERO = -2  # an element that is zero whatever the weights are

_MULTIPLIER = 0x2545F4914F6CDD1D
_SHIFTS = (29, 32)


@dataclass(frozen=True, eq=False)
class Tracked:
    """Coordinates and functionals of the elements of one tensor.

    Args:
        rows: The coordinate of each element, :data:`FOREIGN` or :data:`ZERO`; int64, of the tensor's shape.
        functional: The functional of each element; int64, of the same shape.
        power: 2 if the elements are squares of what the coordinates say, else 1.
    """

    rows: Tensor
    functional: Tensor
    power: int = 1

    @property
    def shape(self) -> torch.Size:
        """Sizes of the tensor."""
        return self.rows.shape


def mixed(*numbers: Tensor | int) -> Tensor:
    """Return a hash of integers that depends on their order; tensors broadcast."""
    state = torch.zeros((), dtype=torch.int64)
    for number in numbers:
        state = (state ^ _scrambled(torch.as_tensor(number))) * _MULTIPLIER
        state = state ^ (state >> _SHIFTS[0])
    return _scrambled(state)


def _scrambled(number: Tensor) -> Tensor:
    number = (number + 0x632BE59BD9B4E019) * _MULTIPLIER
    number = number ^ (number >> _SHIFTS[1])
    number = number * _MULTIPLIER
    return number ^ (number >> _SHIFTS[0])


def positions(shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Return the position of every element of a tensor in memory order."""
    n = 1
    for size in shape:
        n *= size
    return torch.arange(n).reshape(tuple(shape))


def start_of_runs(values: Tensor) -> Tensor:
    """Return for each element of each row the first column that holds an equal value, ``(rows, columns)``."""
    ordered, order = values.sort(dim=1, stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = torch.where(first, torch.arange(values.shape[1]), 0).cummax(dim=1).values
    return torch.empty_like(order).scatter_(1, order, order.gather(1, starts))
