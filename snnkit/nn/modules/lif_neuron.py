"""Leaky integrate-and-fire neurons without synapses."""

from typing import Any

from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.functional import gaussian_noise
from snnkit.nn.leaks import tau_to_decay
from snnkit.nn.modules.declarations import (
    Fill,
    FloatVector,
    as_number,
    neuron_count,
    real,
    require_positive,
    simulation_constant,
    spike_function,
    spike_generation,
    time_step,
    value_or_none,
)
from snnkit.nn.modules.module import TorchModule
from snnkit.nn.surrogates import StepPWL
from snnkit.parameters import Parameter, SimulationParameter, State

__all__ = ["LIFNeuronTorch"]


class LIFNeuronTorch(TorchModule):
    """Leaky integrate-and-fire neurons whose input charges the membrane directly.

    In each step:

        vmem = vmem * exp(-dt / tau_mem) + x + noise + bias
        spikes = min(floor(vmem / threshold), max_spikes_per_dt) where vmem >= threshold, else 0
        vmem = vmem - spikes * threshold

    Input ``(batch, time, N)``, output events ``(batch, time, N)``. Records ``vmem`` (after reset) and
    ``spikes``.

    Args:
        shape: ``N`` or ``(N,)``.
        tau_mem: membrane time constant in s, ``(N,)`` or ``()``, family ``"taus"``; 20 ms.
        threshold: ``(N,)`` or ``()``, above 0, family ``"thresholds"``; 1.
        bias: ``(N,)`` or ``()``, family ``"bias"``.
        dt: time step in s.
        noise_std: standard deviation of the membrane noise after 1 s; drawn from torch's generator.
        spike_generation_fn: :class:`StepPWL` or :class:`PeriodicExponential`, or a function like them.
        learning_window: width of the surrogate gradient, in units of the membrane potential; a number, or
            one for each neuron ``(N,)``.
        max_spikes_per_dt: most events of a neuron in one step.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.
        relative_window: whether ``learning_window`` is in units of the threshold; see :class:`LIFBaseTorch`.

    Raises:
        ShapeError: ``shape`` has two different sizes; a value has another shape.
        ParameterError: a threshold is not above 0.
    """

    _optional_attributes = frozenset(("relative_window",))

    tau_mem: Any
    threshold: Any
    bias: Any
    vmem: Any
    dt: Any
    noise_std: Any
    learning_window: Any
    spike_generation_fn: Any
    max_spikes_per_dt: Any
    relative_window: Any = False

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: int | tuple[int, ...],
        tau_mem: FloatVector | None = None,
        threshold: FloatVector | None = None,
        bias: FloatVector = 0.0,
        dt: float = 1e-3,
        noise_std: float = 0.0,
        spike_generation_fn: Any = StepPWL,
        learning_window: float = 0.5,
        max_spikes_per_dt: float = 2.0**16,
        spiking_input: bool = False,
        spiking_output: bool = True,
        retain_torch_api: bool = False,
        relative_window: bool = False,
    ) -> None:
        where = type(self).__name__
        count = neuron_count(shape, where)
        super().__init__((count,), spiking_input, spiking_output, retain_torch_api)
        self.n_neurons = count
        vector: list[tuple[int, ...]] = [(count,), ()]
        self.tau_mem = Parameter(value_or_none(tau_mem), "taus", Fill(20e-3), vector, cast_fn=real)
        self.threshold = Parameter(value_or_none(threshold), "thresholds", Fill(1.0), vector, cast_fn=real)
        self.bias = Parameter(value_or_none(bias), "bias", Fill(0.0), vector, cast_fn=real)
        self.vmem = State(init_func=Fill(0.0), shape=(count,))
        self.noise_std = simulation_constant(noise_std, "noise_std", where, count, zero=True)
        self.dt = time_step(dt, where)
        self.spike_generation_fn = SimulationParameter(spike_function(spike_generation_fn))
        self.max_spikes_per_dt = simulation_constant(max_spikes_per_dt, "max_spikes_per_dt", where, count)
        self.learning_window = simulation_constant(learning_window, "learning_window", where, count)
        if as_number(relative_window):
            self.relative_window = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "threshold":
            require_positive(f"{type(self).__name__}.threshold", value)
        elif name == "relative_window":
            # Declared where it is used alone: other modules' files stay as they were.
            value = SimulationParameter(bool(as_number(value)))
        super().__setattr__(name, value)

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over ``(batch, time, N)``; return the events, of the same shape."""
        data, _ = self._auto_batch(data)
        (vmem,) = self._states_for(len(data), "vmem")
        (alpha,) = tau_to_decay(self.dt, self.tau_mem)
        noise = gaussian_noise(data.shape, self.noise_std, self.dt, like=vmem)
        spikes, vmem, self._record_dict = functional.lif_neuron(
            data, vmem, alpha, self.bias, spike_generation(self), noise=noise, record=self._record
        )
        self._keep_states(vmem=vmem)
        return spikes
