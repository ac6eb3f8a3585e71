"""Exponential synapses."""

from typing import Any

from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.functional import gaussian_noise
from snnkit.nn.leaks import tau_to_decay
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
from snnkit.parameters import Parameter, State

__all__ = ["ExpSynTorch"]


class ExpSynTorch(TorchModule):
    """Exponential synapses: a leaky sum of the input, ``isyn = (isyn + x + noise) * exp(-dt / tau)``.

    Input ``(batch, time, N)``; output the currents after each step, ``(batch, time, N)``.

    Args:
        shape: ``N`` or ``(N,)``.
        tau: time constant in s, ``(N,)`` or ``()``, family ``"taus"``; 10 ms.
        noise_std: standard deviation of the noise after 1 s; drawn from torch's generator.
        dt: time step in s.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ShapeError: ``shape`` has two different sizes; a value has another shape.
    """

    tau: Any
    isyn: Any
    dt: Any
    noise_std: Any

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: int | tuple[int, ...],
        tau: FloatVector | None = None,
        noise_std: float = 0.0,
        dt: float = 1e-3,
        spiking_input: bool = True,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
    ) -> None:
        count = neuron_count(shape, type(self).__name__)
        super().__init__((count,), spiking_input, spiking_output, retain_torch_api)
        self.tau = Parameter(value_or_none(tau), "taus", Fill(10e-3), [(count,), ()], cast_fn=real)
        self.noise_std = simulation_constant(noise_std, "noise_std", type(self).__name__, count, zero=True)
        self.isyn = State(init_func=Fill(0.0), shape=(count,))
        self.dt = time_step(dt, type(self).__name__)

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over ``(batch, time, N)``; return the currents, of the same shape."""
        data, _ = self._auto_batch(data)
        (isyn,) = self._states_for(len(data), "isyn")
        (beta,) = tau_to_decay(self.dt, self.tau)
        noise = gaussian_noise(data.shape, self.noise_std, self.dt, like=isyn)
        currents, isyn = functional.exp_synapse(data, isyn, beta, noise)
        self._keep_states(isyn=isyn)
        return currents
