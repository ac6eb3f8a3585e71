"""Dense linear weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.linear_paths import linear
from snnkit.nn.modules.declarations import FloatVector, real, value_or_none
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import Parameter
from snnkit.utilities.errors import ShapeError

__all__ = ["LinearTorch"]

Shape = tuple[int, ...]


def _weight_init(shape: Shape) -> Tensor:
    # torch counts the fan-in on axis 1, our weights have it on axis 0.
    return nn.init.kaiming_uniform_(torch.empty(shape[1], shape[0])).T.contiguous()


def _bias_init(shape: Shape) -> Tensor:
    bound = math.sqrt(1 / shape[0])
    return nn.init.uniform_(torch.empty(shape), -bound, bound)


class LinearTorch(TorchModule):
    """Linear layer ``y = x @ weight + bias``.

    Args:
        shape: ``(size_in, size_out)``.
        weight: ``(size_in, size_out)``; family ``"weights"``.
        bias: ``(size_out,)`` or ``()``; family ``"biases"``. A bias given here switches ``has_bias`` on.
        has_bias: whether the layer has a bias; else the attribute ``bias`` is None.
        weight_init_func: draws the weights; by default ``U(-b, b)`` with ``b = sqrt(6 / size_in)``.
        bias_init_func: draws the bias; by default ``U(-b, b)`` with ``b = sqrt(1 / size_out)``.

    Raises:
        ShapeError: ``shape`` is not two sizes, or a value has another shape.
    """

    _optional_attributes = frozenset({"bias"})

    # Assigned as declarations, read as values: see TorchModule.
    weight: Any
    bias: Any

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: tuple[int, int],
        weight: FloatVector | None = None,
        bias: FloatVector | None = None,
        has_bias: bool = False,
        weight_init_func: Callable[[Shape], Tensor] = _weight_init,
        bias_init_func: Callable[[Shape], Tensor] = _bias_init,
        spiking_input: bool = False,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
    ) -> None:
        if isinstance(shape, int) or len(shape) != 2:
            raise ShapeError(
                f"`shape` must specify input and output sizes for LinearTorch, (Nin, Nout), not {shape}."
            )
        super().__init__(shape, spiking_input, spiking_output, retain_torch_api)
        self.weight = Parameter(
            value_or_none(weight),
            family="weights",
            init_func=weight_init_func,
            shape=tuple(shape),
            cast_fn=real,
        )
        if has_bias or bias is not None:
            self.bias = Parameter(
                value_or_none(bias),
                family="biases",
                init_func=bias_init_func,
                shape=[(shape[1],), ()],
                cast_fn=real,
            )
        else:
            self.bias = None

    def forward(self, data: Tensor) -> Tensor:
        """Map ``(batch, time, size_in)`` to ``(batch, time, size_out)``."""
        data, _ = self._auto_batch(data)
        if not data.is_floating_point():
            data = data.to(self.weight.dtype)
        output = linear(data, self.weight)
        return output if self.bias is None else output + self.bias
