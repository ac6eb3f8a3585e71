"""A pointwise function as a module."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import SimulationParameter
from snnkit.utilities.errors import ParameterError

__all__ = ["InstantTorch"]


def identity(data: Tensor) -> Tensor:
    """Return ``data``."""
    return data


class InstantTorch(TorchModule):
    """Apply a function to the data of every step, without state: ``output = function(data)``.

    Args:
        shape: ``N``, ``(N,)`` or ``(size_in, size_out)``.
        function: maps ``(batch, time, size_in)`` to ``(batch, time, size_out)``; the identity by default.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ParameterError: ``function`` cannot be called.
    """

    function: Any

    def __init__(
        self,
        shape: int | tuple[int, ...] | None = None,
        function: Callable[[Tensor], Tensor] = identity,
        spiking_input: bool = False,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
    ) -> None:
        if not callable(function):
            raise ParameterError(f"{type(self).__name__}: function must be callable, not {function!r}.")
        super().__init__(shape, spiking_input, spiking_output, retain_torch_api)
        self.function = SimulationParameter(function)

    def forward(self, data: Tensor) -> Tensor:
        """Map ``(batch, time, size_in)`` through the function."""
        data, _ = self._auto_batch(data)
        return self.function(data)
