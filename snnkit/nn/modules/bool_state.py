"""A switch with memory."""

from typing import Any

import torch
from torch import Tensor

from snnkit.nn.modules.declarations import FloatVector, neuron_count, real, value_or_none
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import SimulationParameter, State
from snnkit.utilities.errors import ParameterError

__all__ = ["BooleanState"]


def _all_off(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape, dtype=torch.bool)


class BooleanState(TorchModule):
    """One switch per channel: on by an input above ``threshold``, off by one below ``-threshold``.

    Input ``(batch, time, N)``, output bool ``(batch, time, N)``: the switches after each step. Records
    ``bool_state``, which equals the output.

    Args:
        shape: ``N`` or ``(N,)``.
        threshold: ``()`` or ``(N,)``, not negative; 1e-10.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ParameterError: a negative threshold.
    """

    threshold: Any
    bool_state: Any

    def __init__(
        self,
        shape: int | tuple[int, ...],
        threshold: FloatVector | None = None,
        spiking_input: bool = False,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
    ) -> None:
        count = neuron_count(shape, type(self).__name__)
        super().__init__((count,), spiking_input, spiking_output, retain_torch_api)
        level = real(1e-10 if threshold is None else value_or_none(threshold))
        if bool((level < 0).any()):
            raise ParameterError(
                f"BooleanState: `threshold` must not be negative (smallest {float(level.min()):g})."
            )
        self.threshold = SimulationParameter(level, shape=[(), (count,)])
        self.bool_state = State(init_func=_all_off, shape=(count,))

    def forward(self, data: Tensor) -> Tensor:
        """Return the switches, bool ``(batch, time, N)``."""
        data, _ = self._auto_batch(data)
        (before,) = self._states_for(len(data), "bool_state")
        on, off = data > self.threshold, data < -self.threshold
        steps = torch.arange(1, data.shape[1] + 1, device=data.device)[:, None]
        # The last command so far decides; 0 stands for "none yet".
        last = torch.where(on | off, steps, 0).cummax(1).values
        commands = torch.cat([before[:, None], on], 1)
        states = commands.gather(1, last)
        if data.shape[1]:
            self._keep_states(bool_state=states[:, -1])
        if self._record:
            self._record_dict = {"bool_state": states}
        return states
