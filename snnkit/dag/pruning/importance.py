"""How much each channel matters: criteria by which channels are chosen."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snnkit.dag.analysis.axes import resolved
from snnkit.dag.analysis.copying import named_tensors, plain_path
from snnkit.dag.channels import Coupling, Group, Member
from snnkit.dag.errors import GraphError
from snnkit.dag.registry import call_module
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = [
    "Activity",
    "BatchNormScale",
    "Importance",
    "Magnitude",
    "Random",
    "Scores",
    "Taylor",
    "importance_named",
]

Scores = Mapping[Group, NDArray[np.float64]]


class Importance(Protocol):
    """A criterion: of each channel of each group how much it matters; groups it cannot judge are left out."""

    def __call__(self, model: nn.Module, coupling: Coupling) -> Scores:
        """Return scores ``(size,)``, 0 or more, by group."""


def per_channel(tensor: Tensor, member: Member) -> NDArray[np.float64]:
    """Return the sum over all elements that belong to a channel, ``(size,)``."""
    summed = (
        tensor.detach().double().movedim(member.axis, 0).flatten(1) if tensor.ndim > 1 else tensor[:, None]
    )
    by_index = summed.detach().double().sum(1).cpu().numpy()
    return by_index[member.positions].sum(1)


@dataclass(frozen=True)
class Magnitude:
    """The norm of the weights that make and read a channel: ``(sum |w|^p)^(1/p)``.

    Args:
        p: 1 or 2, or another order above 0.
        roles: Members that count.
    """

    p: float = 2.0
    roles: tuple[str, ...] = ("out", "in", "per-channel")

    def __call__(self, model: nn.Module, coupling: Coupling) -> Scores:
        """Return the norms."""
        tensors = named_tensors(model)
        return {group: self._of(group, tensors) for group in coupling.prunable}

    def _of(self, group: Group, tensors: Mapping[str, Tensor]) -> NDArray[np.float64]:
        total = np.zeros(group.size)
        for member in group.members:
            if member.role in self.roles:
                total += per_channel(tensors[member.name].detach().abs() ** self.p, member)
        return total ** (1 / self.p)


@dataclass(frozen=True)
class Taylor:
    """First-order change of the loss if the channel is dropped: ``|sum w dL/dw|`` over its weights.

    Args:
        loss: ``loss(model)`` runs the model on data and returns the loss. Molchanov et al. 2019, "Importance
            estimation for neural network pruning".
    """

    loss: Callable[[nn.Module], Tensor]

    def __call__(self, model: nn.Module, coupling: Coupling) -> Scores:
        """Return the changes; gradients of the model are as they were before."""
        parameters = {plain_path(n): p for n, p in nn.Module.named_parameters(model) if p.is_floating_point()}
        asked = {name: parameter.requires_grad for name, parameter in parameters.items()}
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        try:
            with torch.enable_grad():
                gradients = torch.autograd.grad(
                    self.loss(model), list(parameters.values()), allow_unused=True
                )
        finally:
            for name, parameter in parameters.items():
                parameter.requires_grad_(asked[name])
        products = {
            name: parameter.detach() * gradient
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
            if gradient is not None
        }
        return {group: self._of(group, products) for group in coupling.prunable}

    @staticmethod
    def _of(group: Group, products: Mapping[str, Tensor]) -> NDArray[np.float64]:
        # Columns that read the channel have the same sum as its rows: each channel is counted once.
        made = [m for m in group.members if m.role in ("out", "per-channel") and m.name in products]
        found = [per_channel(products[member.name], member) for member in made]
        return np.abs(np.sum(found, 0)) if found else np.zeros(group.size)


@dataclass(frozen=True)
class BatchNormScale:
    """The gain ``|gamma|`` of the batch norm behind a channel. Liu et al. 2017, "Network slimming"."""

    def __call__(self, model: nn.Module, coupling: Coupling) -> Scores:
        """Return the gains of groups that go through a batch norm."""
        gains = {
            op.argument("weight").name
            for op in coupling.tape.operations
            if "batch_norm" in op.kind and op.argument("weight") is not None
        }
        tensors = named_tensors(model)
        scores = {}
        for group in coupling.prunable:
            found = [m for m in group.members if m.name in gains]
            if found:
                scores[group] = np.sum([per_channel(tensors[m.name].detach().abs(), m) for m in found], 0)
        if not scores:
            raise GraphError(
                "No channel goes through a batch norm: choose another importance, like 'magnitude'."
            )
        return scores


@dataclass(frozen=True)
class Random:
    """Uniform numbers: the baseline that every criterion should beat.

    Args:
        seed: Of numpy's generator.
    """

    seed: int = 0

    def __call__(self, model: nn.Module, coupling: Coupling) -> Scores:
        """Return the numbers."""
        rng = np.random.default_rng(self.seed)
        return {group: rng.random(group.size) for group in coupling.prunable}


@dataclass(frozen=True)
class Activity:
    """The mean activation of a channel, of its absolute value: for spiking layers the events per step.

    It is taken behind the last layer within the group, such as the neurons behind a linear layer.

    Args:
        inputs: The positional arguments to run the model on; for spiking models one tensor
            ``(batch, time, channels)``.
    """

    inputs: Any

    def __call__(self, model: nn.Module, coupling: Coupling) -> Scores:
        """Return the means of groups that have a layer of their own."""
        wanted = self._layers(coupling)
        model = copy.deepcopy(model)  # neurons keep their states
        layers = {plain_path(path): module for path, module in nn.Module.named_modules(model)}
        sums: dict[str, NDArray[np.float64]] = {}
        for path, axis in wanted.values():
            layers[path].register_forward_hook(_collect(sums, path, axis))
        given = self.inputs if isinstance(self.inputs, list | tuple) else (self.inputs,)
        nn.Module.train(model, False)
        with torch.no_grad():
            call_module(model, *given)
        return {group: sums[path] for group, (path, _) in wanted.items() if path in sums}

    @staticmethod
    def _layers(coupling: Coupling) -> dict[Group, tuple[str, int]]:
        """Return, by group, the last module whose result has the group as a whole axis, and the axis."""
        found: dict[Group, tuple[str, int]] = {}
        for group in coupling.prunable:
            for path, value in coupling.tape.results.items():
                axes = coupling.propagation.axes.get(value.index, ())
                places = [i for i, axis in enumerate(axes) if resolved(axis) is group.atom]
                if path and places:
                    found[group] = (path, places[0])
        if not found:
            raise GraphError(
                "No group of channels is the result of a layer: Activity has nothing to measure."
            )
        return found


def _collect(sums: dict[str, NDArray[np.float64]], path: str, axis: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        means = value.detach().abs().double().movedim(axis, 0).flatten(1).mean(1).cpu().numpy()
        sums[path] = sums.get(path, 0) + means

    return hook


_NAMED: dict[str, Callable[[], Importance]] = {
    "magnitude": Magnitude,
    "l1": lambda: Magnitude(p=1.0),
    "l2": Magnitude,
    "batch_norm": BatchNormScale,
    "random": Random,
}


def importance_named(name: str | Importance) -> Importance:
    """Return the criterion of that name; one that is given is returned as it is.

    Raises:
        ConfigurationError: there is no such name. Taylor and Activity need data: pass an instance.
    """
    if not isinstance(name, str):
        return name
    if name not in _NAMED:
        raise ConfigurationError(unknown_key_message("importance", name, _NAMED))
    return _NAMED[name]()
