"""Asynchronous delta modulation: a signal becomes events when it has moved by a threshold."""

from typing import Any

import torch
from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.modules.declarations import (
    FloatVector,
    as_number,
    real,
    require_positive,
    time_step,
    value_or_none,
)
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import Constant, Parameter, RP_Constant, SimulationParameter, as_constant_free
from snnkit.utilities.errors import ParameterError, ShapeError

__all__ = ["UpDownTorch"]


class UpDownTorch(TorchModule):
    """Asynchronous delta modulator with an up and a down channel for each input.

    Each channel keeps a reference, at first the first value of the signal. With ``n_ref_steps=0``, when the
    signal is ``d`` above the reference, ``n = floor(d / thr_up)`` up events are emitted and the reference
    moves up by ``n * thr_up``; likewise down. With ``n_ref_steps >= 1``, at most one event is emitted, the
    reference jumps to the signal, and follows it silently until ``n_ref_steps`` steps after the event.

    Input ``(batch, time, N)``; output events ``(batch, time, 2 N)``, up events of input ``k`` on channel
    ``2 k``, down events on ``2 k + 1``. Records ``analog_value``, the reference before each step,
    ``(batch, time, N)``. No state is kept between calls. Gradients flow through the surrogate of
    :class:`StepPWL`.

    Args:
        shape: ``N`` or ``(N,)``; the module's shape is ``(N, 2 N)``.
        thr_up: rise per up event, ``()``, ``(N,)`` or ``(1, N)``, above 0, family ``"thresholds"``.
        thr_down: fall per down event, like ``thr_up``.
        n_ref_steps: least distance of two events of a channel, in steps; 0 allows several events per step.
        repeat_output: every event is counted this many times.
        dt: time step in s; for the record, the events do not depend on it.
        device: where the thresholds live.
        dtype: their type.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ShapeError: ``shape`` has more than one size; a threshold has another shape.
        ParameterError: a threshold is not above 0; a negative ``n_ref_steps``, ``repeat_output`` below 1.
    """

    thr_up: Any
    thr_down: Any
    n_ref_steps: Any
    repeat_output: Any
    dt: Any

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: int | tuple[int, ...],
        thr_up: FloatVector = 1e-3,
        thr_down: FloatVector = 1e-3,
        n_ref_steps: int = 0,
        repeat_output: int = 1,
        dt: float = 1e-3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        spiking_input: bool = False,
        spiking_output: bool = True,
        retain_torch_api: bool = False,
    ) -> None:
        where = type(self).__name__
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if len(sizes) != 1 or sizes[0] < 1:
            raise ShapeError(f"{where}: `shape` must be a one-element tuple (Nin,), not {shape}.")
        if n_ref_steps < 0 or repeat_output < 1:
            raise ParameterError(
                f"{where}: n_ref_steps must be at least 0 and repeat_output at least 1 "
                f"(got {n_ref_steps} and {repeat_output})."
            )
        super().__init__((sizes[0], 2 * sizes[0]), spiking_input, spiking_output, retain_torch_api)
        self.n_channels = sizes[0]
        for name, value in (("thr_up", thr_up), ("thr_down", thr_down)):
            setattr(self, name, self._threshold(value_or_none(value), device, dtype))
        self.n_ref_steps = SimulationParameter(as_number(n_ref_steps), cast_fn=int)
        self.repeat_output = SimulationParameter(as_number(repeat_output), cast_fn=int)
        self.dt = time_step(dt, type(self).__name__)

    def _threshold(self, value: Any, device: Any, dtype: torch.dtype | None) -> Parameter:
        tensor = real(as_constant_free(value)).to(device=device, dtype=dtype)
        if tensor.numel() == 1:
            tensor = tensor.reshape(1, 1).expand(1, self.n_channels).contiguous()
        data = Constant(tensor) if isinstance(value, RP_Constant) else tensor
        return Parameter(data, "thresholds", shape=(1, self.n_channels))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("thr_up", "thr_down"):
            require_positive(f"{type(self).__name__}.{name}", value)
        super().__setattr__(name, value)

    def forward(self, data: Tensor) -> Tensor:
        """Encode ``(batch, time, N)`` into events ``(batch, time, 2 N)``."""
        data, _ = self._auto_batch(data)
        events, references = functional.delta_modulate(data, self.thr_up, self.thr_down, self.n_ref_steps)
        if self._record:
            self._record_dict = {"analog_value": references}
        return events * self.repeat_output
