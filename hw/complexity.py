"""Figures of a network that no hardware decides, by NeuroBench's definitions.

Yik et al. 2023, "NeuroBench: A Framework for Benchmarking Neuromorphic Computing Algorithms and Systems"
(arXiv 2304.04640). Sums are over all layers and time steps, and means over the samples:

* footprint: bytes of all parameters and buffers;
* connection sparsity: share of weights that are zero;
* activation sparsity: share of neurons, steps and samples whose output is zero;
* synaptic operations: weights that meet an input. *Dense* counts all of them, *effective* ones those where
  neither weight nor input is zero: accumulates (ACs) where a layer's inputs are only -1, 0 and 1, else
  multiply-accumulates (MACs);
* membrane updates: neurons whose membrane changed in a step; in the first step all of them.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.modules import LIFBaseTorch, LIFNeuronTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError, DataError

from .xylo.simulator.xylo_sim import XyloSim
from .xylo.specification.core import ARRAYS, Specification

__all__ = ["Complexity", "complexity"]

_CONNECTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, LinearTorch)
_ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU)
_NEURONS = (LIFBaseTorch, LIFNeuronTorch)


@dataclass(frozen=True)
class Complexity:
    """NeuroBench's hardware-independent figures; operations and updates are means over the samples.

    Attributes:
        footprint: bytes.
        connection_sparsity: 0..1.
        activation_sparsity: 0..1.
        effective_macs: multiply-accumulates.
        effective_acs: accumulates.
        dense: operations if nothing were zero.
        membrane_updates: changed membrane states.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    effective_macs: float
    effective_acs: float
    dense: float
    membrane_updates: float

    def __str__(self) -> str:
        return (
            f"footprint {self.footprint:,} bytes; {self.connection_sparsity:.1%} of weights and "
            f"{self.activation_sparsity:.1%} of activations are zero; per sample {self.effective_acs:,.0f} "
            f"accumulates and {self.effective_macs:,.0f} multiply-accumulates of {self.dense:,.0f}, "
            f"{self.membrane_updates:,.0f} membrane updates"
        )


def complexity(model: nn.Module | Specification, data: Any) -> Complexity:
    """Measure a network, or a chip's program, on some data.

    Networks may hold :class:`LinearTorch`, ``nn.Linear`` and convolutions as connections, and leaky
    integrate-and-fire neurons and torch's usual activation functions; they run in evaluation mode, from rest,
    and are left as they are. A program runs in the simulator; each event of a graded input is one accumulate
    there, as it is on the chip, and its footprint is that of its integers.

    Args:
        model: a network or a program.
        data: ``(batch, time, channels)``, or what the network takes.

    Raises:
        DataError: there are no samples.
        ConfigurationError: the network has no connections that are known.
    """
    if len(data) == 0:
        raise DataError("Complexity is measured on data: at least one sample is needed.")
    return _of_program(model, data) if isinstance(model, Specification) else _of_network(model, data)


def _of_program(spec: Specification, raster: Any) -> Complexity:
    sim = XyloSim(spec)
    output, _, record = sim(raster, record=True)
    batch, steps = np.asarray(output).shape[:2]
    weights = [spec.weights_in, spec.weights_rec, spec.weights_out]
    count = sum(w.size for w in weights)
    events = [np.asarray(record["Spikes"]), np.asarray(output)]
    states = [np.asarray(record["Vmem"]), np.asarray(record["Vmem_out"])]
    return Complexity(
        footprint=sum(getattr(spec, name).nbytes for name in ARRAYS),
        connection_sparsity=1 - sum(np.count_nonzero(w) for w in weights) / count,
        activation_sparsity=1
        - sum(np.count_nonzero(e) for e in events) / max(1, sum(e.size for e in events)),
        effective_macs=0.0,
        effective_acs=sim.counters.total_synaptic_operations / batch,
        dense=float(steps * count),
        membrane_updates=sum(_changes(torch.from_numpy(v.astype(np.int64))) for v in states) / batch,
    )


@dataclass
class _Sums:
    """What the hooks add up."""

    weights: int = 0
    zero_weights: int = 0
    macs: float = 0.0
    acs: float = 0.0
    dense: float = 0.0
    outputs: int = 0
    zero_outputs: int = 0
    updates: int = 0

    def add_weights(self, weight: Tensor) -> None:
        self.weights += weight.numel()
        self.zero_weights += int((weight == 0).sum())

    def add_operations(self, apply: Callable[[Tensor, Tensor], Tensor], data: Tensor, weight: Tensor) -> None:
        """Count by running the layer on what is not zero, and on ones."""
        effective = float(apply(_nonzero(data), _nonzero(weight)).sum())
        self.dense += float(apply(torch.ones_like(data), torch.ones_like(weight)).sum())
        if bool(((data == 0) | (data.abs() == 1)).all()):
            self.acs += effective
        else:
            self.macs += effective


def _of_network(net: nn.Module, data: Any) -> Complexity:
    copied = copy.deepcopy(net).eval()
    sums = _Sums()
    for module in nn.Module.modules(copied):
        if isinstance(module, _CONNECTIONS):
            sums.add_weights(module.weight)
            module.register_forward_hook(_connection_hook(sums))
        elif isinstance(module, _NEURONS):
            module.reset_state()
            _watch_neurons(module, sums)
        elif isinstance(module, _ACTIVATIONS):
            module.register_forward_hook(_activation_hook(sums))
    if not sums.weights:
        known = ", ".join(kind.__name__ for kind in _CONNECTIONS)
        raise ConfigurationError(f"The network has no connections to count; known are {known}.")
    with torch.no_grad():
        copied(data)
    tensors = [*nn.Module.parameters(net), *net.buffers()]
    batch = len(data)
    return Complexity(
        footprint=sum(t.numel() * t.element_size() for t in tensors),
        connection_sparsity=sums.zero_weights / sums.weights,
        activation_sparsity=sums.zero_outputs / max(1, sums.outputs),
        effective_macs=sums.macs / batch,
        effective_acs=sums.acs / batch,
        dense=sums.dense / batch,
        membrane_updates=sums.updates / batch,
    )


def _connection_hook(sums: _Sums) -> Callable[..., None]:
    def hook(module: Any, arguments: tuple[Tensor, ...], _output: Any) -> None:
        layer = copy.deepcopy(module)
        layer._forward_hooks.clear()

        def apply(data: Tensor, weight: Tensor) -> Tensor:
            layer.weight.data = weight
            if getattr(layer, "bias", None) is not None:
                layer.bias.data = torch.zeros_like(layer.bias)
            result: Tensor = layer.forward(data)
            return result

        sums.add_operations(apply, arguments[0], module.weight.detach())

    return hook


def _activation_hook(sums: _Sums) -> Callable[..., None]:
    def hook(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
        sums.outputs += output.numel()
        sums.zero_outputs += int((output == 0).sum())

    return hook


def _watch_neurons(neurons: LIFBaseTorch | LIFNeuronTorch, sums: _Sums) -> None:
    """Count events, membrane changes and the operations of recurrent weights."""
    recurrent = getattr(neurons, "w_rec", None)
    if isinstance(recurrent, Tensor):
        sums.add_weights(recurrent)

    def before(module: Any, _arguments: Any) -> None:
        module._record = True

    def after(module: Any, _arguments: Any, output: Tensor) -> None:
        _activation_hook(sums)(module, _arguments, output)
        record = module._record_dict
        sums.updates += _changes(record["vmem"])
        if isinstance(recurrent, Tensor):
            spikes = record["spikes"]
            heard = torch.cat([torch.zeros_like(spikes[:, :1]), spikes[:, :-1]], dim=1)
            sums.add_operations(torch.matmul, heard, recurrent.detach())

    neurons.register_forward_pre_hook(before)
    neurons.register_forward_hook(after)


def _nonzero(values: Tensor) -> Tensor:
    return (values != 0).to(torch.float32)


def _changes(states: Tensor) -> int:
    """Return how many states ``(batch, time, neurons)`` changed from step to step, all in the first."""
    if not states.shape[1]:
        return 0
    return int(states[:, 0].numel() + (states[:, 1:] != states[:, :-1]).sum())
