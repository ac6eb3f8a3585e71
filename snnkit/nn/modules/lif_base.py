"""What all leaky integrate-and-fire modules with synapses share: attributes, leak modes, checks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.functional import LIFDynamics, LIFState, gaussian_noise
from snnkit.nn.modules.declarations import (
    Fill,
    FloatVector,
    as_number,
    kaiming_uniform,
    neuron_layout,
    real,
    require_positive,
    simulation_constant,
    spike_function,
    spike_generation,
    time_step,
    value_or_none,
)
from snnkit.nn.modules.leak_modes import (
    LEAK_ATTRIBUTES,
    LeakMode,
    check_leak_arguments,
    convert_leak,
    leak_mode_named,
)
from snnkit.nn.modules.module import TorchModule
from snnkit.nn.surrogates import StepPWL
from snnkit.parameters import Parameter, SimulationParameter, State
from snnkit.utilities.errors import ParameterError

__all__ = ["LIFBaseTorch"]


class LIFBaseTorch(TorchModule):
    """Attributes and checks of leaky integrate-and-fire neurons with exponential synapses.

    The leaks ``tau_mem``, ``tau_syn`` (seconds), ``alpha``, ``beta`` (decay per step) and ``dash_mem``,
    ``dash_syn`` (bit shift) can all be read and written in every leak mode; those of the mode are the
    parameters, the others are converted.

    Args:
        shape: ``N``, ``(N,)`` or ``(N * S, N)`` for S synapses per neuron; input channels
            ``n S ... n S + S - 1`` feed neuron ``n``.
        leak_mode: which leaks are parameters, and their family: ``"taus"``, ``"decays"`` or ``"bitshifts"``.
        tau_mem: membrane time constant in s, ``(N,)`` or ``()``; 20 ms.
        tau_syn: synaptic time constant in s, ``(N, S)``, ``(1, S)`` or ``()``; 20 ms.
        alpha: membrane decay factor, shaped like ``tau_mem``; 0.5.
        beta: synaptic decay factor, shaped like ``tau_syn``; 0.5.
        dash_mem: membrane bit shift, shaped like ``tau_mem``; 1.
        dash_syn: synaptic bit shift, shaped like ``tau_syn``; 1.
        bias: current added in every step, ``(N,)`` or ``()``, family ``"bias"``; 0.
        threshold: ``(N,)`` or ``()``, above 0, family ``"thresholds"``; 1.
        has_rec: whether events feed back through ``w_rec``.
        w_rec: recurrent weights ``(N, N * S)``, family ``"weights"``; the attribute is None without them.
        noise_std: standard deviation of the membrane noise after 1 s; drawn from torch's generator.
        spike_generation_fn: :class:`StepPWL` or :class:`PeriodicExponential`, or a function like them.
        learning_window: width of the surrogate gradient, in units of the membrane potential; a number, or
            one for each neuron ``(N,)``.
        max_spikes_per_dt: most events of a neuron in one step.
        weight_init_func: draws ``w_rec``; by default ``U(-b, b)`` with ``b = sqrt(6 / (N S))``.
        dt: time step in s.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module.
        hop_delay: whether events leave the module one step after they arise, as they do from one layer of a
            Xylo to the next; see :func:`snnkit.nn.hop_delays.with_hop_delays`. Recurrent weights, states
            and recordings stay as they are.
        relative_window: whether ``learning_window`` is in units of the threshold, so that the surrogate is a
            function of ``vmem / threshold``. Training is then the same whatever scale a neuron's weights and
            threshold have. Rockpool's window is absolute.

    Raises:
        ShapeError: the input channels do not divide evenly among the neurons; a value has another shape.
        ParameterError: unknown ``leak_mode``, leaks of another mode, ``w_rec`` without ``has_rec``, a
            threshold that is not above 0, a negative time constant.
    """

    _optional_attributes = frozenset((*LEAK_ATTRIBUTES, "w_rec", "hop_delay", "relative_window"))

    # Assigned as declarations, read as values: see TorchModule.
    bias: Any
    threshold: Any
    w_rec: Any
    vmem: Any
    isyn: Any
    spikes: Any
    leak_mode: Any
    dt: Any
    noise_std: Any
    learning_window: Any
    spike_generation_fn: Any
    max_spikes_per_dt: Any
    hop_delay: Any = False
    relative_window: Any = False

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        shape: int | tuple[int, ...],
        leak_mode: str = "taus",
        tau_mem: FloatVector | None = None,
        tau_syn: FloatVector | None = None,
        alpha: FloatVector | None = None,
        beta: FloatVector | None = None,
        dash_mem: FloatVector | None = None,
        dash_syn: FloatVector | None = None,
        bias: FloatVector | None = None,
        threshold: FloatVector | None = None,
        has_rec: bool = False,
        w_rec: FloatVector | None = None,
        noise_std: float = 0.0,
        spike_generation_fn: Any = StepPWL,
        learning_window: float = 0.5,
        max_spikes_per_dt: float = 2.0**16,
        weight_init_func: Callable[[tuple[int, ...]], Tensor] = kaiming_uniform,
        dt: float = 1e-3,
        spiking_input: bool = True,
        spiking_output: bool = True,
        retain_torch_api: bool = False,
        hop_delay: bool = False,
        relative_window: bool = False,
    ) -> None:
        where = type(self).__name__
        size_in, neurons = neuron_layout(shape, where)
        mode = leak_mode_named(leak_mode, where)
        given = {"tau_mem": tau_mem, "tau_syn": tau_syn, "alpha": alpha, "beta": beta}
        given |= {"dash_mem": dash_mem, "dash_syn": dash_syn}
        check_leak_arguments(mode, given, where)
        super().__init__((size_in, neurons), spiking_input, spiking_output, retain_torch_api)
        self.n_neurons = neurons
        self.n_synapses = size_in // neurons
        self.leak_mode = SimulationParameter(leak_mode)
        self.dt = time_step(dt, where)
        self._declare_recurrence(bool(as_number(has_rec)), value_or_none(w_rec), weight_init_func)
        self._declare_leaks(mode, given[mode.membrane], given[mode.synapse])
        self._declare_membrane(bias, threshold)
        self.noise_std = simulation_constant(noise_std, "noise_std", where, neurons, zero=True)
        self.learning_window = simulation_constant(learning_window, "learning_window", where, neurons)
        self.spike_generation_fn = SimulationParameter(spike_function(spike_generation_fn))
        self.max_spikes_per_dt = simulation_constant(max_spikes_per_dt, "max_spikes_per_dt", where, neurons)
        if as_number(hop_delay):
            self.hop_delay = True
        if as_number(relative_window):
            self.relative_window = True

    def _declare_recurrence(
        self, has_rec: bool, w_rec: Any, weight_init_func: Callable[[tuple[int, ...]], Tensor]
    ) -> None:
        self._has_rec = SimulationParameter(has_rec)
        if has_rec:
            self.w_rec = Parameter(
                w_rec, "weights", weight_init_func, shape=(self.n_neurons, self.size_in), cast_fn=real
            )
        elif w_rec is not None:
            raise ParameterError(
                f"{type(self).__name__}: `w_rec` may not be given if `has_rec` is False. Pass has_rec=True."
            )

    def _declare_leaks(self, mode: LeakMode, membrane: Any, synapse: Any) -> None:
        default = Fill(float(self._prepare_leak(torch.tensor(mode.default))))
        vector: list[tuple[int, ...]] = [(self.n_neurons,), ()]
        matrix: list[tuple[int, ...]] = [(self.n_neurons, self.n_synapses), (1, self.n_synapses), ()]
        for name, value, shapes in ((mode.membrane, membrane, vector), (mode.synapse, synapse, matrix)):
            data = value_or_none(value)
            setattr(self, name, Parameter(data, mode.family, default, shapes, cast_fn=self._prepare_leak))

    def _prepare_leak(self, value: Any) -> Tensor:
        """Return a leak given to the constructor in the form in which it is stored."""
        leak = real(value)
        if self.leak_mode == "taus" and bool((leak < 0).any()):
            raise ParameterError(
                f"{type(self).__name__}: time constants must not be negative (got {float(leak.min()):g})."
            )
        return leak

    def _declare_membrane(self, bias: Any, threshold: Any) -> None:
        vector: list[tuple[int, ...]] = [(self.n_neurons,), ()]
        layout = (self.n_neurons, self.n_synapses)
        self.bias = Parameter(value_or_none(bias), "bias", Fill(0.0), vector, cast_fn=real)
        self.threshold = Parameter(value_or_none(threshold), "thresholds", Fill(1.0), vector, cast_fn=real)
        self.vmem = State(init_func=Fill(0.0), shape=(self.n_neurons,))
        self.isyn = State(init_func=Fill(0.0), shape=layout)
        self.spikes = State(init_func=Fill(0.0), shape=(self.n_neurons,))

    # --- Leaks of the other modes, and checks on assignment ---------------------------------------

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_registry" in self.__dict__:
                if name in LEAK_ATTRIBUTES:
                    return self._derived_leak(LEAK_ATTRIBUTES[name], name)
                if name == "w_rec":
                    return None
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "threshold":
            require_positive(f"{type(self).__name__}.threshold", value)
        elif name == "leak_mode" and self.__dict__.get("leak_mode", value) != value:
            raise ParameterError(
                f"{type(self).__name__}: leak_mode cannot change from {self.leak_mode!r} to {value!r}, as "
                "other leaks would have to become parameters. Build a new module with the other leak_mode."
            )
        elif name in ("hop_delay", "relative_window"):
            # Declared where it is used alone: other modules' files stay as they were.
            value = SimulationParameter(bool(as_number(value)))
        elif name in LEAK_ATTRIBUTES and "bias" in self.__dict__.get("_registry", {}):
            mode = LEAK_ATTRIBUTES[name]
            if mode.family != self.leak_mode:
                name, value = self._stored_leak(mode, name, real(value))
        super().__setattr__(name, value)

    def _own_name(self, mode: LeakMode, name: str) -> str:
        own = leak_mode_named(self.leak_mode, type(self).__name__)
        return own.membrane if name == mode.membrane else own.synapse

    def _derived_leak(self, mode: LeakMode, name: str) -> Tensor:
        return convert_leak(getattr(self, self._own_name(mode, name)), self.leak_mode, mode.family, self.dt)

    def _stored_leak(self, mode: LeakMode, name: str, value: Tensor) -> tuple[str, Tensor]:
        return self._own_name(mode, name), convert_leak(value, mode.family, self.leak_mode, self.dt)

    # --- What the loops need ----------------------------------------------------------------------

    def _dynamics(self) -> LIFDynamics:
        return LIFDynamics(self.alpha, self.beta, self.bias, spike_generation(self), self.w_rec)

    def _initial_state(self, batch: int) -> LIFState:
        return LIFState(*self._states_for(batch, "vmem", "isyn", "spikes"))

    def _sent(self, spikes: Tensor, before: LIFState) -> Tensor:
        """Return ``spikes`` (batch, time, N) in the steps in which other layers receive them."""
        if not self.hop_delay:
            return spikes
        return torch.cat((before.spikes[:, None], spikes), dim=1)[:, :-1]

    def _noise(self, data: Tensor) -> Tensor | None:
        shape = (*data.shape[:2], self.n_neurons)
        return gaussian_noise(shape, self.noise_std, self.dt, like=self.vmem)
