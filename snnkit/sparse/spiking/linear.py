"""Linear weights between spiking neurons, of which only some are there."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.modules.declarations import FloatVector, real, value_or_none
from snnkit.nn.modules.linear import LinearTorch, _bias_init
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import Parameter
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.event_products import event_product
from snnkit.sparse.spiking.holder import SparseSpiking
from snnkit.sparse.synapses import Synapses, new_synapses
from snnkit.utilities.errors import ShapeError

__all__ = ["SparseLinearTorch"]


class SparseLinearTorch(SparseSpiking, LinearTorch):
    """``LinearTorch`` with sparse weights: an event reads the weights that leave its channel, no others.

    The weights are in ``synapses.values``, one number for each, row by row of ``(size_in, size_out)``;
    :attr:`weight` is a dense view of them. Output and gradients are those of ``LinearTorch`` with zeros
    elsewhere.

    Args:
        shape: ``(size_in, size_out)``.
        weight: ``(size_in, size_out)``; without a mask or density its zeros are no weights.
        bias: ``(size_out,)`` or ``()``; family ``"biases"``. A bias given here switches ``has_bias`` on.
        has_bias: whether the layer has a bias.
        mask: bool ``(size_in, size_out)``: which weights there are.
        density: share of the weights that there are, at random places; all by default.
        generator: for places and weights.
        bias_init_func: draws the bias, as in ``LinearTorch``.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.

    Raises:
        ShapeError: ``shape`` is not two sizes, or the bias has another shape.
        SparsityError: the weights or the mask have another shape; nothing is left; a mask and a density.
    """

    _matrix = "weight"

    def __init__(
        self,
        shape: tuple[int, int],
        weight: FloatVector | None = None,
        bias: FloatVector | None = None,
        has_bias: bool = False,
        *,
        mask: Tensor | None = None,
        density: float | None = None,
        generator: torch.Generator | None = None,
        bias_init_func: Callable[[tuple[int, ...]], Tensor] = _bias_init,
        spiking_input: bool = False,
        spiking_output: bool = False,
    ) -> None:
        if isinstance(shape, int) or len(shape) != 2:
            raise ShapeError(f"SparseLinearTorch needs a shape (size_in, size_out), not {shape}.")
        TorchModule.__init__(self, shape, spiking_input, spiking_output)
        given = value_or_none(weight)
        size_in, size_out = shape
        self.synapses = new_synapses(
            (size_in, size_out), "weight", None if given is None else real(given), mask, density, generator
        )
        self.bias = None
        if has_bias or bias is not None:
            self.bias = Parameter(
                value_or_none(bias), "biases", bias_init_func, [(shape[1],), ()], cast_fn=real
            )

    @classmethod
    def from_dense(cls, module: LinearTorch, mask: Tensor | None = None) -> "SparseLinearTorch":
        """Return the sparse twin of a ``LinearTorch``; tensors are copied.

        Args:
            module: stays as it is.
            mask: which weights stay; by default those that are not zero.
        """
        weight = module.weight
        synapses = new_synapses((weight.shape[0], weight.shape[1]), "weight", weight, mask, None, None)
        synapses.values.requires_grad_(weight.requires_grad)
        return _like(cls.of_synapses(synapses), module)

    @classmethod
    def of_synapses(cls, synapses: Synapses) -> "SparseLinearTorch":
        """Return a module without bias around synapses, which are not copied."""
        module = cls((1, 1))
        module._shape = synapses.shape
        module.synapses = synapses
        return module

    def to_dense(self) -> LinearTorch:
        """Return the dense twin, with zeros where there is no weight; tensors are copied."""
        weight = self.synapses.dense_weight().detach()
        twin = LinearTorch((weight.shape[0], weight.shape[1]))
        twin.weight = nn.Parameter(weight.clone(), self.synapses.values.requires_grad)
        return _like(twin, self)

    @property
    def weight(self) -> Tensor:
        """The dense view ``(size_in, size_out)``."""
        return self.synapses.dense_weight()

    def forward(self, data: Tensor) -> Tensor:
        """Map ``(batch, time, size_in)`` to ``(batch, time, size_out)``.

        Raises:
            SparsityError: the input has another floating type than the weights.
        """
        data, _ = self._auto_batch(data)
        synapses: Synapses = self.synapses
        values = synapses.values
        if not data.is_floating_point():
            data = data.to(values.dtype)
        if data.dtype != values.dtype:
            raise SparsityError(
                f"{self._label} has weights of type {values.dtype} and was given {data.dtype}: convert one "
                "of the two."
            )
        if torch.compiler.is_compiling() or data.is_meta:
            output = data @ synapses.dense_weight()
        else:
            rows = data.reshape(-1, data.shape[-1])
            output = event_product(values, rows, synapses.pattern()).view(*data.shape[:-1], -1)
        synapses.watch_product(lambda: data, output)
        return output if self.bias is None else output + self.bias


def _like(twin: Any, module: LinearTorch) -> Any:
    """Give a twin what a module has beside its weights; return the twin."""
    twin._spiking_input, twin._spiking_output = module.spiking_input, module.spiking_output
    if module.bias is not None:
        twin._registry["bias"] = module._registry["bias"]
        twin.__dict__.pop("bias", None)
        twin._parameters["bias"] = nn.Parameter(module.bias.detach().clone(), module.bias.requires_grad)
    twin._name, twin._torch_api, twin._torch_call = module._name, module._torch_api, module._torch_call
    return twin.train(module.training)
