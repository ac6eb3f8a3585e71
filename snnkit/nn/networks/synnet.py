"""SynNet: a feed-forward network whose synapses remember over many time scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnkit.nn.combinators import TorchSequential
from snnkit.nn.combinators.containers import evolve_child, keep_record
from snnkit.nn.modules import (
    LIFTorch,
    LinearTorch,
    PeriodicExponential,
    TimeStepDropout,
    TorchModule,
    bitshift_to_tau,
    tau_to_bitshift,
)
from snnkit.nn.modules.trees import children_of
from snnkit.nn.networks.initialisers import steps_per_tau
from snnkit.parameters import Constant, SimulationParameter
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, ParameterError

if TYPE_CHECKING:
    from snnkit.dag import DagModule

__all__ = ["SynNet"]

_OUTPUTS = ("spikes", "vmem")
_LAST = "out_neurons"


class SynNet(TorchModule):
    """Layers of weights and LIF neurons; in each layer the synaptic time constants are spread over decades.

    Neuron k of a layer with n time constants has ``tau_syn = dt (tau_syn_base / dt)^(k mod n + 1)``.
    Bos & Muir 2022, "Sub-mW neuromorphic SNN audio processing applications with Rockpool and Xylo".

    The layers are the children of ``seq``: ``{i}_linear``, ``{i}_neurons``, ``{i}_dropout`` (if any),
    ``out_linear``, ``out_neurons``; ``lif_names`` lists the neurons, ``label_last_LIF`` is the last of them.
    Input ``(batch, time, n_channels)``, output ``(batch, time, n_classes)``.

    Args:
        n_classes: number of output channels.
        n_channels: number of input channels.
        size_hidden_layers: number of neurons of each hidden layer.
        time_constants_per_layer: number of synaptic time constants of each hidden layer.
        tau_syn_base: shortest synaptic time constant in s; above ``dt``.
        tau_mem: membrane time constant of all neurons in s.
        tau_syn_out: synaptic time constant of the output neurons in s.
        quantize_time_constants: use the nearest time constants that a bit-shift decay can have.
        train_time_constants: make the time constants of the hidden layers parameters.
        threshold: threshold of all neurons.
        threshold_out: threshold of the output neurons, one or one for each.
        train_threshold: make the thresholds of the hidden layers parameters.
        neuron_model: class of all neurons, with the arguments of LIFTorch.
        max_spikes_per_dt: most events of a hidden neuron in one step.
        max_spikes_per_dt_out: most events of an output neuron in one step.
        p_dropout: probability that a hidden layer's events of one step are dropped in training.
        dt: time step in s.
        output: ``"spikes"`` of the output neurons, or their membrane potential ``"vmem"``, never reset.
        neuron_kwargs: more arguments for ``neuron_model``.

    Raises:
        ConfigurationError: lists of different lengths, an unknown output, a threshold for output ``"vmem"``.
        ParameterError: ``tau_syn_base`` not above ``dt``.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        n_classes: int,
        n_channels: int,
        size_hidden_layers: Sequence[int] = (60,),
        time_constants_per_layer: Sequence[int] = (10,),
        tau_syn_base: float = 2e-3,
        tau_mem: float = 2e-3,
        tau_syn_out: float = 2e-3,
        quantize_time_constants: bool = True,
        train_time_constants: bool = False,
        threshold: float = 1.0,
        threshold_out: float | Sequence[float] | None = None,
        train_threshold: bool = False,
        neuron_model: type[TorchModule] = LIFTorch,
        max_spikes_per_dt: int = 31,
        max_spikes_per_dt_out: int = 1,
        p_dropout: float = 0.0,
        dt: float = 1e-3,
        output: str = "spikes",
        neuron_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        _check_layers(size_hidden_layers, time_constants_per_layer)
        _check_output(output, threshold_out)
        _check_time_constants(tau_syn_base, dt)
        super().__init__((n_channels, n_classes), spiking_input=True, spiking_output=output == "spikes")
        self.dt = SimulationParameter(float(dt))
        self.output = SimulationParameter(output)
        self.lif_names = [*(f"{i}_neurons" for i in range(len(size_hidden_layers))), _LAST]
        self.label_last_LIF = _LAST

        trained = (train_time_constants, train_threshold)
        build = _LayerBuilder(
            neuron_model, dt, tau_mem, quantize_time_constants, *trained, neuron_kwargs or {}
        )
        layers: dict[str, TorchModule] = {}
        sources = [n_channels, *size_hidden_layers]
        for i, (size, n_taus) in enumerate(zip(size_hidden_layers, time_constants_per_layer, strict=True)):
            taus = _spread_taus(size, n_taus, tau_syn_base, dt)
            layer = build(sources[i], size, taus, threshold, max_spikes_per_dt)
            layers |= zip((f"{i}_linear", f"{i}_neurons"), layer, strict=True)
            if p_dropout > 0:
                layers[f"{i}_dropout"] = TimeStepDropout(size, p=p_dropout)
        build_out = replace(build, train_taus=False, train_threshold=False)
        threshold_out = _threshold_out(output, threshold if threshold_out is None else threshold_out)
        out = build_out(
            sources[-1], n_classes, torch.tensor(tau_syn_out), threshold_out, max_spikes_per_dt_out
        )
        self.seq = TorchSequential({**layers, "out_linear": out[0], _LAST: out[1]})

    def forward(self, data: Tensor) -> Tensor:
        """Return the events of the output neurons, or their membrane potential."""
        recorded: dict[str, Any] = {}
        for name, layer in children_of(self.seq):
            needs_vmem = self.output == "vmem" and name == _LAST
            data, recorded = evolve_child(layer, data, self._record or needs_vmem)
            data = recorded["vmem"] if needs_vmem else data
            keep_record(self, name, recorded, data)
        return data

    def as_graph(self) -> "DagModule":
        """Return the graph: one vertex ``seq``, with a vertex for each layer."""
        from snnkit.dag import DagModule

        graph = DagModule(self._name or self.class_name)
        layers = graph.add_vertex("seq", self.seq.as_graph(), [graph.add_input_vertex("input")])
        graph.mark_as_output(layers)
        return graph


def nearest_bitshift_tau(dt: float, tau: Tensor) -> Tensor:
    """Return the time constants nearest in bit shift to ``tau``; shifts below 1 would clear the state."""
    (dash,) = tau_to_bitshift(dt, tau)
    (nearest,) = bitshift_to_tau(dt, dash.round().clamp(min=1))
    return nearest


@dataclass(frozen=True)
class _LayerBuilder:
    """Makes weights and the neurons that they feed, with the settings that all layers share."""

    neuron_model: type[TorchModule]
    dt: float
    tau_mem: float
    quantize: bool
    train_taus: bool
    train_threshold: bool
    neuron_kwargs: Mapping[str, Any]

    def __call__(
        self, size_in: int, size: int, tau_syn: Tensor, threshold: Any, max_spikes: int
    ) -> tuple[TorchModule, TorchModule]:
        tau_syn = self._seconds(tau_syn)
        settings = {
            "tau_mem": self._parameter(self._seconds(torch.tensor(self.tau_mem)), self.train_taus),
            "tau_syn": self._parameter(tau_syn, self.train_taus),
            "bias": Constant(0.0),
            "threshold": self._parameter(torch.tensor(threshold), self.train_threshold),
            "spike_generation_fn": PeriodicExponential,
            "max_spikes_per_dt": max_spikes,
            "dt": self.dt,
            **self.neuron_kwargs,
        }
        linear = LinearTorch((size_in, size), weight_init_func=steps_per_tau(self.dt, tau_syn))
        return linear, self.neuron_model(size, **settings)

    def _seconds(self, tau: Tensor) -> Tensor:
        return nearest_bitshift_tau(self.dt, tau) if self.quantize else tau

    def _parameter(self, value: Tensor, is_trained: bool) -> Tensor:
        return value if is_trained else Constant(value)


def _spread_taus(size: int, n_taus: int, base: float, dt: float) -> Tensor:
    """Return the synaptic time constants of a layer in s, ``(size, 1)``."""
    powers = torch.arange(size) % n_taus + 1
    return dt * (base / dt) ** powers[:, None]


def _threshold_out(output: str, threshold: float | Sequence[float]) -> float | Sequence[float]:
    # The highest threshold of any chip: the membrane is read, and never reset.
    return float(get_chip("a2").max_threshold) if output == "vmem" else threshold


def _check_time_constants(tau_syn_base: float, dt: float) -> None:
    if tau_syn_base <= dt:
        raise ParameterError(
            "SynNet: the base synaptic time constant tau_syn_base needs to be larger than "
            f"the time step dt ({tau_syn_base:g} s against {dt:g} s)."
        )


def _check_layers(sizes: Sequence[int], time_constants: Sequence[int]) -> None:
    if len(sizes) != len(time_constants):
        raise ConfigurationError(
            "SynNet: lists for hidden layer sizes and number of time constants per layer need to have the "
            f"same length ({len(sizes)} and {len(time_constants)})."
        )
    if any(number < 1 for number in (*sizes, *time_constants)):
        raise ConfigurationError(
            f"SynNet: sizes {list(sizes)} and numbers of time constants {list(time_constants)} "
            "must be at least 1."
        )


def _check_output(output: str, threshold_out: Any) -> None:
    if output not in _OUTPUTS:
        raise ConfigurationError(f"SynNet: output {output!r} is not defined; it must be 'spikes' or 'vmem'.")
    if output == "vmem" and threshold_out is not None:
        raise ConfigurationError(
            "SynNet: the threshold of readout neurons is not applied if output is 'vmem' (membrane "
            "potential). Leave out threshold_out."
        )
