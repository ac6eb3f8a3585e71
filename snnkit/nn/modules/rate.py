"""Rate neurons."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.functional import gaussian_noise
from snnkit.nn.modules.declarations import (
    Fill,
    FloatVector,
    neuron_count,
    real,
    simulation_constant,
    time_step,
    value_or_none,
)
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import Parameter, SimulationParameter, State
from snnkit.utilities.errors import ParameterError

__all__ = ["RateTorch"]


def rectify(x: Tensor, threshold: Tensor) -> Tensor:
    """Return ``max(0, x - threshold)``."""
    return torch.clamp(x - threshold, min=0.0)


def unit_eigs(shape: tuple[int, ...]) -> Tensor:
    """Draw a square matrix whose eigenvalues lie within about the unit circle: ``N(0, 1 / size)``."""
    return torch.randn(shape) / math.sqrt(shape[0])


class RateTorch(TorchModule):
    """Rate neurons, integrated by the forward Euler rule.

    In each step:

        x = x + dt / tau * (-x + input + bias + activation(x, threshold) @ w_rec + noise)

    Input ``(batch, time, N)``, output ``activation(x, threshold)`` ``(batch, time, N)``. Records ``x`` and
    ``rec_input`` ``(batch, time, N)``.

    Args:
        shape: ``N`` or ``(N,)``.
        tau: time constant in s, ``(N,)`` or ``()``, family ``"taus"``; 20 ms.
        bias: ``(N,)`` or ``()``, family ``"biases"``; 0.
        threshold: passed to the activation, ``(N,)`` or ``()``, family ``"thresholds"``; 0.
        has_rec: whether the outputs feed back through ``w_rec``.
        w_rec: recurrent weights ``(N, N)``, family ``"weights"``; the attribute is None without recurrence.
        weight_init_func: draws ``w_rec``; by default ``N(0, 1 / N)``.
        activation_func: ``f(x, threshold)``; ``max(0, x - threshold)`` by default.
        noise_std: standard deviation of the noise after 1 s; drawn from torch's generator.
        dt: time step in s.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ShapeError: ``shape`` has two different sizes; a value has another shape.
        ParameterError: ``w_rec`` without ``has_rec``; the activation cannot be called.
    """

    _optional_attributes = frozenset({"w_rec"})

    tau: Any
    bias: Any
    threshold: Any
    w_rec: Any
    x: Any
    dt: Any
    noise_std: Any
    act_fn: Any

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: int | tuple[int, ...],
        tau: FloatVector | None = None,
        bias: FloatVector | None = None,
        threshold: FloatVector | None = None,
        has_rec: bool = False,
        w_rec: FloatVector | None = None,
        weight_init_func: Callable[[tuple[int, ...]], Tensor] = unit_eigs,
        activation_func: Callable[[Tensor, Tensor], Tensor] = rectify,
        noise_std: float = 0.0,
        dt: float = 1e-3,
        spiking_input: bool = False,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
    ) -> None:
        where = type(self).__name__
        count = neuron_count(shape, where)
        if w_rec is not None and not has_rec:
            raise ParameterError(
                f"{where}: `w_rec` may not be given if `has_rec` is False. Pass has_rec=True."
            )
        if not callable(activation_func):
            raise ParameterError(f"{where}: activation_func must be a function of (x, threshold).")
        super().__init__((count,), spiking_input, spiking_output, retain_torch_api)
        if has_rec:
            self.w_rec = Parameter(
                value_or_none(w_rec), "weights", weight_init_func, (count, count), cast_fn=real
            )
        else:
            self.w_rec = None
        vector: list[tuple[int, ...]] = [(count,), ()]
        self.tau = Parameter(value_or_none(tau), "taus", Fill(20e-3), vector, cast_fn=real)
        self.bias = Parameter(value_or_none(bias), "biases", Fill(0.0), vector, cast_fn=real)
        self.threshold = Parameter(value_or_none(threshold), "thresholds", Fill(0.0), vector, cast_fn=real)
        self.x = State(init_func=Fill(0.0), shape=(count,))
        self.dt = time_step(dt, where)
        self.noise_std = simulation_constant(noise_std, "noise_std", where, count, zero=True)
        self.act_fn = SimulationParameter(activation_func)

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over ``(batch, time, N)``; return the rates, of the same shape."""
        data, _ = self._auto_batch(data)
        (x,) = self._states_for(len(data), "x")
        threshold, activate = self.threshold, self.act_fn
        rates, x, self._record_dict = functional.rate(
            data,
            x,
            self.dt / self.tau,
            self.bias,
            activation=lambda state: activate(state, threshold),
            w_rec=self.w_rec,
            noise=gaussian_noise(data.shape, self.noise_std, self.dt, like=x),
            record=self._record,
        )
        self._keep_states(x=x)
        return rates
