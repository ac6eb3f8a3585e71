"""WaveSense: dilated convolution over time, made of synapses with several time constants."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnkit.nn.combinators.containers import add_child_vertex, evolve_child
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential, StepPWL, TorchModule
from snnkit.nn.networks.initialisers import steps_per_tau
from snnkit.parameters import Constant, SimulationParameter
from snnkit.utilities.errors import ConfigurationError

if TYPE_CHECKING:
    from snnkit.dag import DagModule, Vertex

__all__ = ["WaveSenseBlock", "WaveSenseNet"]


class WaveSenseBlock(TorchModule):
    """A block of :class:`WaveSenseNet`: one dilated layer, then a residual and a skip path.

    ``lin1`` and ``spk1`` have ``kernel_size`` synapses per neuron, with time constants
    ``max(1, k dilation) base_tau_syn`` for k = 0, 1, ...; the membrane has the longest of them. Then
    ``residual = x + spk2_res(lin2_res(h))`` and ``skip = spk2_skip(lin2_skip(h))``.

    Called on its own the block returns the residual, ``(batch, time, Nchannels)``.

    Args:
        Nchannels: number of channels of input and residual.
        Nskip: number of channels of the skip path.
        dilation: step between the time constants, in units of ``base_tau_syn``.
        kernel_size: number of synapses per neuron of the dilated layer.
        bias: bias of all neurons; a ``Constant`` is not trained.
        tau_mem: membrane time constant of the neurons of the two paths in s.
        base_tau_syn: shortest synaptic time constant in s.
        threshold: threshold of all neurons.
        neuron_model: class of all neurons, with the arguments of LIFTorch.
        dt: time step in s.

    Raises:
        ConfigurationError: dilation or kernel size below 1.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        Nchannels: int = 16,
        Nskip: int = 32,
        dilation: int = 1,
        kernel_size: int = 2,
        bias: Any = Constant(0.0),  # noqa: B008 - a constant, never changed
        tau_mem: float = 10e-3,
        base_tau_syn: float = 10e-3,
        threshold: float = 1.0,
        neuron_model: type[TorchModule] = LIFTorch,
        dt: float = 1e-3,
    ) -> None:
        if kernel_size < 1 or dilation < 1:
            raise ConfigurationError(
                "WaveSenseBlock: kernel_size and dilation must be at least 1, "
                f"not {kernel_size} and {dilation}."
            )
        super().__init__((Nchannels, Nchannels), spiking_input=True, spiking_output=True)
        taus = torch.arange(0, dilation * kernel_size, dilation).clamp(min=1) * base_tau_syn
        longest = float(taus.max())
        dilated = steps_per_tau(dt, longest)
        path = steps_per_tau(dt, base_tau_syn)
        periodic = PeriodicExponential

        def neurons(shape: Any, tau_mem: float, tau_syn: Any, surrogate: Any) -> TorchModule:
            settings = neuron_settings(tau_mem, tau_syn, bias, threshold, dt)
            return neuron_model(shape, **{**settings, "spike_generation_fn": surrogate})

        self.lin1 = LinearTorch((Nchannels, Nchannels * kernel_size), weight_init_func=dilated)
        self.spk1 = neurons(
            (Nchannels * kernel_size, Nchannels), longest, taus.repeat(Nchannels, 1), periodic
        )
        self.lin2_res = LinearTorch((Nchannels, Nchannels), weight_init_func=path)
        self.spk2_res = neurons((Nchannels, Nchannels), tau_mem, base_tau_syn, periodic)
        self.lin2_skip = LinearTorch((Nchannels, Nskip), weight_init_func=path)
        # Rockpool has another surrogate here, and only here; with it gradients are equal to its own.
        self.spk2_skip = neurons((Nskip, Nskip), tau_mem, base_tau_syn, StepPWL)

    def forward(self, data: Tensor) -> Tensor:
        """Return the residual, ``(batch, time, Nchannels)``."""
        residual, _, self._record_dict = self.paths(data, self._record)
        return residual

    def paths(self, data: Tensor, record: bool = False) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Return residual ``(batch, time, Nchannels)``, skip ``(batch, time, Nskip)``, and the recordings."""
        data, _ = self._auto_batch(data)
        recorder = Recorder(record)
        hidden = recorder.run(self, ("lin1", "spk1"), data)
        residual = data + recorder.run(self, ("lin2_res", "spk2_res"), hidden)
        skip = recorder.run(self, ("lin2_skip", "spk2_skip"), hidden)
        return residual, skip, recorder.recorded

    def as_graph(self) -> "DagModule":
        """Return the graph of the residual; the skip path leads nowhere, and is left out."""
        return self.path_graph(("residual",))

    def path_graph(self, paths: Sequence[str]) -> "DagModule":
        """Return the graph with the outputs named, of ``"residual"`` and ``"skip"``."""
        from snnkit.dag import Add, DagModule

        graph = DagModule(self._name or self.class_name)
        data = graph.add_input_vertex("input")
        hidden = _add_chain(graph, self, ("lin1", "spk1"), data)
        outputs: list[Vertex] = []
        if "residual" in paths:
            residual = _add_chain(graph, self, ("lin2_res", "spk2_res"), hidden)
            outputs.append(graph.add_vertex("add", Add(), [residual, data]))
        if "skip" in paths:
            outputs.append(_add_chain(graph, self, ("lin2_skip", "spk2_skip"), hidden))
        graph.mark_as_output(*outputs)
        return graph


class WaveSenseNet(TorchModule):
    """Spiking network for sequences, with dilated blocks as in WaveNet; the sum of their skips is read out.

    Weidel & Sheik 2021, "WaveSense: Efficient temporal convolutions with spiking neural networks for keyword
    spotting", arXiv:2111.01456. Children: ``lin1``, ``spk1``, ``wave{i}`` (:class:`WaveSenseBlock`) for each
    dilation, ``hidden``, ``spk2``, ``readout``, ``spk_out``. Input ``(batch, time, n_channels_in)``, output
    events ``(batch, time, n_classes)``.

    Args:
        dilations: dilation of each block.
        n_classes: number of output channels.
        n_channels_in: number of input channels.
        n_channels_res: number of channels from block to block.
        n_channels_skip: number of channels of the skip paths.
        n_hidden: number of neurons of the layer before the readout.
        kernel_size: number of synapses per neuron of the dilated layers.
        bias: bias of all neurons; a ``Constant`` is not trained.
        smooth_output: give the output neurons the time constant ``tau_lp``; else those of the other neurons.
        tau_mem: membrane time constant in s.
        base_tau_syn: shortest synaptic time constant in s.
        tau_lp: membrane and synaptic time constant of the output neurons in s.
        threshold: threshold of all neurons.
        threshold_out: threshold of the output neurons.
        neuron_model: class of all neurons, with the arguments of LIFTorch.
        neuron_model_out: class of the output neurons, if another.
        dt: time step in s.

    Raises:
        ConfigurationError: no dilations; dilation or kernel size below 1.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's order of arguments
        self,
        dilations: Sequence[int],
        n_classes: int = 2,
        n_channels_in: int = 16,
        n_channels_res: int = 16,
        n_channels_skip: int = 32,
        n_hidden: int = 32,
        kernel_size: int = 2,
        bias: Any = Constant(0.0),  # noqa: B008 - a constant, never changed
        smooth_output: bool = True,
        tau_mem: float = 20e-3,
        base_tau_syn: float = 20e-3,
        tau_lp: float = 20e-3,
        threshold: float = 1.0,
        threshold_out: float = 1.0,
        neuron_model: type[TorchModule] = LIFTorch,
        neuron_model_out: type[TorchModule] | None = None,
        dt: float = 1e-3,
    ) -> None:
        if not dilations:
            raise ConfigurationError("WaveSenseNet needs at least one dilation.")
        super().__init__((n_channels_in, n_classes), spiking_input=True, spiking_output=True)
        self.dt = SimulationParameter(float(dt))
        self.n_classes = n_classes
        self.n_channels_res = n_channels_res
        self.n_channels_skip = n_channels_skip
        tau_mem_out, tau_syn_out = (tau_lp, tau_lp) if smooth_output else (tau_mem, base_tau_syn)
        plain = steps_per_tau(dt, base_tau_syn)
        common = neuron_settings(tau_mem, base_tau_syn, bias, threshold, dt)
        out = neuron_settings(tau_mem_out, tau_syn_out, bias, threshold_out, dt)

        self.lin1 = LinearTorch((n_channels_in, n_channels_res), weight_init_func=plain)
        self.spk1 = neuron_model((n_channels_res, n_channels_res), **common)
        self.wave_blocks = [f"wave{i}" for i in range(len(dilations))]
        for name, dilation in zip(self.wave_blocks, dilations, strict=True):
            sizes = (n_channels_res, n_channels_skip, dilation, kernel_size)
            block = WaveSenseBlock(*sizes, bias, tau_mem, base_tau_syn, threshold, neuron_model, dt)
            setattr(self, name, block)
        self.hidden = LinearTorch((n_channels_skip, n_hidden), weight_init_func=plain)
        self.spk2 = neuron_model((n_hidden, n_hidden), **common)
        self.readout = LinearTorch((n_hidden, n_classes), weight_init_func=steps_per_tau(dt, tau_syn_out))
        self.spk_out = (neuron_model_out or neuron_model)((n_classes, n_classes), **out)

    def _blocks(self) -> list[tuple[str, WaveSenseBlock]]:
        return [(name, getattr(self, name)) for name in self.wave_blocks]

    def forward(self, data: Tensor) -> Tensor:
        """Return the events of the output neurons, ``(batch, time, n_classes)``."""
        recorder = Recorder(self._record)
        data = recorder.run(self, ("lin1", "spk1"), data)
        skips: Tensor | None = None
        for name, block in self._blocks():
            data, skip, recorded = block.paths(data, self._record)
            recorder.note(name, recorded, data)
            skips = skip if skips is None else skips + skip
        assert skips is not None
        output = recorder.run(self, ("hidden", "spk2", "readout", "spk_out"), skips)
        self._record_dict = recorder.recorded
        return output

    def as_graph(self) -> "DagModule":
        """Return the graph: a vertex for each child, nested for blocks, and ``skip_add`` for their sum.

        The residual path of the last block leads nowhere, and is left out.
        """
        from snnkit.dag import Add, DagModule, Select

        graph = DagModule(self._name or self.class_name)
        data = _add_chain(graph, self, ("lin1", "spk1"), graph.add_input_vertex("input"))
        skips: list[Vertex] = []
        *blocks, last_block = self._blocks()
        for name, block in blocks:
            vertex = graph.add_vertex(name, block.path_graph(("residual", "skip")), [data])
            skips.append(graph.add_vertex(f"{name}_skip", Select(1), [vertex]))
            data = graph.add_vertex(f"{name}_residual", Select(0), [vertex])
        skips.append(graph.add_vertex(last_block[0], last_block[1].path_graph(("skip",)), [data]))
        total = graph.add_vertex("skip_add", Add(), skips) if len(skips) > 1 else skips[0]
        last = _add_chain(graph, self, ("hidden", "spk2", "readout", "spk_out"), total)
        graph.mark_as_output(last)
        return graph


class Recorder:
    """Runs children one after the other, and keeps their recordings and outputs if asked to."""

    def __init__(self, record: bool) -> None:
        self.record = record
        self.recorded: dict[str, Any] = {}

    def note(self, name: str, recorded: dict[str, Any], output: Tensor) -> None:
        """Keep what a child recorded, and its output."""
        if self.record:
            self.recorded[name] = recorded
            self.recorded[f"{name}_output"] = output

    def run(self, parent: TorchModule, names: Sequence[str], data: Tensor) -> Tensor:
        """Return the output of the last of the children named, each fed by the one before."""
        for name in names:
            child = parent._modules[name]
            assert child is not None
            data, recorded = evolve_child(child, data, self.record)
            self.note(name, recorded, data)
        return data


def neuron_settings(tau_mem: float, tau_syn: Any, bias: Any, threshold: float, dt: float) -> dict[str, Any]:
    """Return the arguments of neurons with fixed time constants and threshold."""
    return {
        "tau_mem": Constant(tau_mem),
        "tau_syn": Constant(tau_syn),
        "bias": bias,
        "threshold": Constant(threshold),
        "spike_generation_fn": PeriodicExponential,
        "dt": dt,
    }


def _add_chain(graph: "DagModule", parent: TorchModule, names: Sequence[str], source: "Vertex") -> "Vertex":
    for name in names:
        child = parent._modules[name]
        assert child is not None
        source = add_child_vertex(graph, name, child, source)
    return source
