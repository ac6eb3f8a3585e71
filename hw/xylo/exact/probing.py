"""Finds the placement of a network's parameters by mapping a copy whose parameters are numbered.

The mapper knows values, not parameters. It only moves weights around and never adds them up before they are
laid out, so if every element of every parameter holds a number of its own, the mapped arrays tell which
element stands where. Biases of linear layers may add up on the way to a population; they are probed one
layer at a time.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.graph_of import graph_of
from snnkit.nn.kernels.coverage import surrogate_of
from snnkit.nn.modules.leak_modes import LEAK_ATTRIBUTES
from snnkit.nn.surrogates import PeriodicExponential
from snnkit.parameters import canonical_family
from snnkit.transforms.patching import remove_T_net
from snnkit.transforms.wrappers import own_tensors
from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError

from ..deployment.float_run import module_paths
from ..mapping.layout import place_populations, projection_sources
from ..mapping.reader import Reader
from ..mapping.values import Circuit, Node
from .placement import Block, Group, Key, Placement, Selection

__all__ = ["find_placement"]

_NUMBERED = ("weights", "biases", "thresholds")


def find_placement(net: nn.Module, chip: Chip) -> Placement:
    """Return where the parameters of ``net`` (patched or not; left as it is) sit on ``chip``.

    Raises:
        ConfigurationError: a population's module is not in the network, or its surrogate has no adjoint.
    """
    probe = _Probe(net, chip)
    circuit = probe.numbered_circuit()
    paths = module_paths(probe.net, circuit)
    lost = [node.path for node in circuit.nodes if node.path not in paths]
    if lost:
        raise ConfigurationError(
            f"The graph has neurons {', '.join(lost)}, but the network has no such module, so their "
            "parameters cannot be trained."
        )
    found = place_populations(circuit, chip)
    linear = probe.linear_biases(circuit)
    groups = {}
    for node in sorted((*found.hidden, *found.outputs), key=lambda node: node.index):
        copied = tuple(skip.source for skip in circuit.skips if skip.target == node.index)
        groups[node.index] = Group(
            index=node.index,
            path=paths[node.path],
            name=node.path,
            is_output=node.is_output,
            place=found.ranges[node.index],
            synapses=node.synapses,
            threshold=probe.selection(node.threshold),
            bias=probe.selection(node.bias),
            synaptic_bias=tuple(linear.get(node.index, ())),
            copied=copied,
            periodic=_is_periodic(node),
            window=float(torch.as_tensor(node.module.learning_window)),
            relative=bool(getattr(node.module, "relative_window", False)),
        )
    return Placement(groups, tuple(_blocks(circuit, groups, probe)))


def _blocks(circuit: Circuit, groups: dict[int, Group], probe: "_Probe") -> Iterator[Block]:
    for projection, sources in zip(circuit.projections, projection_sources(circuit), strict=True):
        if projection.target in groups:
            weights = probe.selection(projection.weights)
            for source, factor in sources:
                yield Block(weights, source, projection.target, factor)


def _is_periodic(node: Node) -> bool:
    """Return whether the surrogate is PeriodicExponential, and not StepPWL."""
    module: Any = node.module
    surrogate = surrogate_of(module.spike_generation_fn)
    window = torch.as_tensor(module.learning_window)
    if surrogate is None or window.numel() != 1:
        raise ConfigurationError(
            f"{node.path}: chip-exact training knows the surrogates StepPWL and PeriodicExponential with one "
            f"learning_window for all neurons, not {_name_of(module.spike_generation_fn)} with "
            f"{window.numel()} (relative_window=True makes one serve neurons of all scales)."
        )
    return surrogate is PeriodicExponential


def _name_of(surrogate: Any) -> str:
    """Return the name of a surrogate's class, or of a function."""
    named = getattr(surrogate, "__self__", surrogate)
    return str(getattr(named, "__name__", named))


class _Probe:
    """A copy of a network without transforms, in float64, whose parameters can be numbered."""

    def __init__(self, net: nn.Module, chip: Chip) -> None:
        self.chip = chip
        self.net: nn.Module = remove_T_net(copy.deepcopy(net), inplace=True).double()
        self.keys: list[Key] = []
        self.starts = [1]
        """The number of the first element of each parameter, and one more; 0 stands for nothing."""
        self.linear: dict[Key, Tensor] = {}
        seen: set[int] = set()
        for path, module in self.net.named_modules():
            for name, tensor in own_tensors(module).items():
                if _is_numbered(module, name) and id(tensor) not in seen:
                    seen.add(id(tensor))
                    self._number(path, name, tensor)

    def _number(self, path: str, name: str, tensor: Tensor) -> None:
        first = self.starts[-1]
        numbers = torch.arange(first, first + tensor.numel(), dtype=torch.float64)
        tensor.data = numbers.reshape(tensor.shape)
        self.keys.append((path, name))
        self.starts.append(first + tensor.numel())
        if name == "bias" and not hasattr(self.net.get_submodule(path), "threshold"):
            self.linear[path, name] = tensor

    def _circuit(self) -> Circuit:
        reader = Reader(self.chip)
        reader.read(graph_of(self.net))
        return reader.circuit

    def numbered_circuit(self) -> Circuit:
        """Return the circuit whose weights, thresholds and neuron biases are numbers of elements."""
        return self._circuit()

    def linear_biases(self, circuit: Circuit) -> dict[int, list[Selection]]:
        """Return for each population which linear layers' biases arrive at it, and where."""
        found: dict[int, list[Selection]] = {}
        numbers = {key: tensor.clone() for key, tensor in self.linear.items()}
        for wanted in numbers:
            for key, tensor in self.linear.items():
                tensor.data = numbers[key] if key == wanted else torch.zeros_like(tensor)
            for node in self._circuit().nodes:
                if node.synaptic_bias.any():
                    found.setdefault(node.index, []).append(self.selection(node.synaptic_bias))
        return found

    def selection(self, numbers: np.ndarray) -> Selection:
        """Return which elements of which parameter an array of numbers stands for."""
        first = int(numbers.max())
        which = int(np.searchsorted(self.starts, first, side="right")) - 1
        start, stop = self.starts[which : which + 2]
        index = np.where(numbers > 0, numbers - start, -1).astype(np.int64)
        return Selection(self.keys[which], index, stop - start)


def _is_numbered(module: nn.Module, name: str) -> bool:
    if name in LEAK_ATTRIBUTES or name == "tau_ahp":
        return False
    entry = module.__dict__.get("_registry", {}).get(name)
    if entry is None:
        return True  # torch's own layers
    return entry.family is not None and canonical_family(entry.family) in _NUMBERED
