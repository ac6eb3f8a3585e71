"""Dropout of whole channels, and of single time steps."""

from typing import Any

import torch
from torch import Tensor

from snnkit.nn.modules.declarations import as_number
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import SimulationParameter
from snnkit.utilities.errors import ParameterError

__all__ = ["TimeStepDropout", "UnitDropout"]


class _Dropout(TorchModule):
    """Keeps each element of a random mask with probability ``1 - p``; passes data on in evaluation."""

    p: Any

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: int | tuple[int, ...],
        p: float = 0.5,
        training: bool = True,
        spiking_input: bool = False,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
    ) -> None:
        p = as_number(p)
        if not 0 <= p <= 1:
            raise ParameterError(f"{type(self).__name__}: p is a probability, between 0 and 1, not {p}.")
        super().__init__(shape, spiking_input, spiking_output, retain_torch_api)
        self.p = SimulationParameter(p, cast_fn=float)
        self.training = bool(training)

    def _mask(self, data: Tensor, *shape: int) -> Tensor:
        # Drawn as floats: events may come as integers.
        kind = data.dtype if data.is_floating_point() else torch.get_default_dtype()
        return torch.rand(shape, dtype=kind, device=data.device) >= self.p


class UnitDropout(_Dropout):
    """Silence whole channels for a whole sequence, and scale the others by ``1 / (1 - p)``.

    Every element of a batch has its own selection. Data ``(batch, time, N)``; passed on unchanged in
    evaluation mode.

    Args:
        shape: ``N`` or ``(N,)``.
        p: probability that a channel is silenced.
        training: start in training mode; ``train()`` and ``eval()`` switch it.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ParameterError: ``p`` is no probability.
    """

    def forward(self, data: Tensor) -> Tensor:
        """Return ``(batch, time, N)`` with channels silenced."""
        data, _ = self._auto_batch(data)
        if not self.training or self.p == 0:
            return data
        if self.p == 1:
            return torch.zeros_like(data)
        return data * self._mask(data, len(data), 1, data.shape[-1]) / (1 - self.p)


class TimeStepDropout(_Dropout):
    """Remove single time steps from the channels, each on its own, without scaling.

    Data ``(batch, time, N)``; every value is set to 0 with probability ``p``, in evaluation mode none.

    Args:
        shape: ``N`` or ``(N,)``.
        p: probability that a value is removed.
        training: start in training mode; ``train()`` and ``eval()`` switch it.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ParameterError: ``p`` is no probability.
    """

    def forward(self, data: Tensor) -> Tensor:
        """Return ``(batch, time, N)`` with values removed."""
        data, _ = self._auto_batch(data)
        return data * self._mask(data, *data.shape) if self.training and self.p > 0 else data
