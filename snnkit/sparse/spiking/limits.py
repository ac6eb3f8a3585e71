"""What a chip's memory allows of the single weights of a network: windows, fan-outs, totals.

A chip's hidden neurons are numbered through all hidden layers. Only the first of them receive input and only
the last reach outputs (windows); all weights between them, recurrent or from one layer to the next, share a
fan-out for each source and a total for each synapse bank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkit.nn.modules.dropout import TimeStepDropout, UnitDropout
from snnkit.nn.modules.lif import LIFTorch
from snnkit.nn.modules.linear import LinearTorch
from snnkit.sparse.pruning.masks import Masks, masks_of
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.masks import keep_largest, largest_of_columns

__all__ = ["ChipLimits", "Layer", "chain_of"]

_PASSING = (UnitDropout, TimeStepDropout, nn.Dropout, nn.Identity)


@dataclass(frozen=True)
class Layer:
    """A population and the weights around it.

    Attributes:
        path: of the neurons in the model.
        neurons: their number.
        synapses: of each neuron.
        incoming: name of the weights that lead to it.
        recurrent: name of its own; None without recurrence.
    """

    path: str
    neurons: int
    synapses: int
    incoming: str
    recurrent: str | None


@dataclass(frozen=True)
class ChipLimits:
    """The limits of one chip on one network: a chain of linear weights and LIF neurons.

    Masks and scores are tensors ``(sources, targets)`` by the names of the weights.

    Attributes:
        chip: from :mod:`snnkit.utilities.chips`.
        hidden: its hidden layers, in order.
        output: the output layer.
    """

    chip: Chip
    hidden: tuple[Layer, ...]
    output: Layer

    @classmethod
    def of(cls, model: nn.Module, chip: str | Chip) -> "ChipLimits":
        """Read a network.

        Raises:
            ConfigurationError: it is no chain of ``LinearTorch`` and ``LIFTorch`` (or sparse twins) with a
                hidden layer, or it has more neurons or synapses than the chip, which no pruning of weights
                changes.
        """
        entry = get_chip(chip)
        layers = chain_of(model)
        limits = cls(entry, tuple(layers[:-1]), layers[-1])
        _check_sizes(limits)
        return limits

    @property
    def neurons(self) -> int:
        """Hidden neurons."""
        return sum(layer.neurons for layer in self.hidden)

    def leaving(self, index: int) -> tuple[str, ...]:
        """Return the names of the weights from a hidden layer to hidden neurons."""
        own = self.hidden[index].recurrent
        following = [layer.incoming for layer in self.hidden[index + 1 : index + 2]]
        return (*([own] if own else []), *following)

    def windows(self, masks: Mapping[str, Tensor]) -> Masks:
        """Return the masks without weights from the input, or to outputs, beyond the chip's windows."""
        found = dict(masks)
        first, last = self.hidden[0], self.hidden[-1]
        if first.incoming in found:
            mask = found[first.incoming].clone()
            mask[:, self.chip.max_input_expansion * first.synapses :] = False
            found[first.incoming] = mask
        if self.output.incoming in found:
            mask = found[self.output.incoming].clone()
            mask[: max(0, last.neurons - self.chip.max_output_expansion)] = False
            found[self.output.incoming] = mask
        return found

    def excess(self, masks: Mapping[str, Tensor]) -> tuple[int, int]:
        """Return by how many weights the largest fan-out and the fullest bank exceed the chip; 0 if none."""
        fans = [int(_joined(masks, self.leaving(i)).sum(1).max()) for i in self._sending()]
        banks = self._banks(masks)
        return (
            max(0, max(fans, default=0) - self.chip.max_fanout),
            max(0, max(banks, default=0) - self.chip.max_recurrent_weights),
        )

    def within(
        self,
        masks: Mapping[str, Tensor],
        scores: Mapping[str, Tensor],
        allowed: tuple[int, int] = (0, 0),
        minimum: int = 1,
    ) -> Masks:
        """Return the masks with the least loss of scores that the chip can hold.

        Each source keeps its best weights, then each bank. With one bank no masks have a larger sum of
        scores: the caps are nested, and greedy choice is optimal there.

        Args:
            masks: of all weights in :attr:`hidden`.
            scores: 0 or more, of the masks' shapes.
            allowed: by how many weights fan-outs and banks may still exceed the chip.
            minimum: weights of each matrix that go last, whatever their scores.
        """
        found = self.windows(masks)
        scores = {name: _with_surest(scores[name], mask, minimum) for name, mask in found.items()}
        fan_out, total = (
            self.chip.max_fanout + allowed[0],
            self.chip.max_recurrent_weights + allowed[1],
        )
        for index in self._sending():
            names = self.leaving(index)
            joined, score = _joined(found, names), _joined(scores, names)
            best = largest_of_columns(score.masked_fill(~joined, -1).T, fan_out).T & joined
            found |= _parted(best, found, names)
        return self._filled(found, scores, total)

    def _filled(self, masks: Masks, scores: Mapping[str, Tensor], total: int) -> Masks:
        """Return masks in which each bank has at most ``total`` weights."""
        for bank in range(max(layer.synapses for layer in self.hidden)):
            places = {name: _of_bank(masks[name], bank, count) for name, count in self._between()}
            parts = [scores[name].masked_fill(~there, -1).flatten() for name, there in places.items()]
            if sum(int(there.sum()) for there in places.values()) <= total:
                continue
            kept = keep_largest(torch.cat(parts), total).split([len(part) for part in parts])
            for (name, there), one in zip(places.items(), kept, strict=True):
                masks[name] = masks[name] & (~there | one.view_as(there))
        return masks

    def room(self, name: str, kept: Tensor, masks: Mapping[str, Tensor]) -> Tensor | None:
        """Return how many more weights each source of a matrix may have; None if there is no limit.

        Args:
            name: of the matrix.
            kept: its mask.
            masks: of the others.
        """
        for index in self._sending():
            if name in self.leaving(index):
                used = sum(masks[other].sum(1) for other in self.leaving(index) if other != name)
                return self.chip.max_fanout - kept.sum(1) - used
        return None

    def _sending(self) -> list[int]:
        return [index for index in range(len(self.hidden)) if self.leaving(index)]

    def _between(self) -> list[tuple[str, int]]:
        """Return the weights between hidden neurons, and the synapses of their targets."""
        pairs = []
        for index, layer in enumerate(self.hidden):
            pairs += [(layer.recurrent, layer.synapses)] if layer.recurrent else []
            pairs += [(layer.incoming, layer.synapses)] if index else []
        return [(name, count) for name, count in pairs if name]

    def _banks(self, masks: Mapping[str, Tensor]) -> list[int]:
        most = max(layer.synapses for layer in self.hidden)
        return [
            sum(int(_of_bank(masks[name], bank, count).sum()) for name, count in self._between())
            for bank in range(most)
        ]

    def check(self, model: nn.Module) -> None:
        """Raise unless the network's weights are within the limits.

        Raises:
            ConfigurationError: naming what exceeds the chip.
        """
        masks = masks_of(model)
        fan_out, bank = self.excess(masks)
        problems = []
        if fan_out:
            problems.append(
                f"a hidden neuron has {self.chip.max_fanout + fan_out} weights to hidden neurons, at most "
                f"{self.chip.max_fanout} fit"
            )
        if bank:
            problems.append(
                f"a synapse bank has {self.chip.max_recurrent_weights + bank} weights, at most "
                f"{self.chip.max_recurrent_weights} fit"
            )
        inside = self.windows(masks)
        outside = [name for name, mask in masks.items() if not torch.equal(inside[name], mask)]
        if outside:
            problems.append(f"{', '.join(outside)} reach beyond the neurons that take input or drive outputs")
        if problems:
            text = "; ".join(problems)
            raise ConfigurationError(f"{self.chip.title} ({self.chip.name}): {text}. Train with ChipPruning.")


def chain_of(model: nn.Module) -> list[Layer]:
    """Return the layers of a chain of linear weights and LIF neurons, dense or sparse.

    Raises:
        ConfigurationError: the model is none, or has no hidden layer.
    """
    layers: list[Layer] = []
    weights: tuple[str, LinearTorch] | None = None
    problems = []
    for path, module in _leaves(model):
        if isinstance(module, LinearTorch) and weights is None:
            weights = path, module
        elif isinstance(module, LIFTorch) and weights is not None:
            recurrent = f"{path}.w_rec" if bool(module._has_rec) else None
            layers.append(Layer(path, module.n_neurons, module.n_synapses, f"{weights[0]}.weight", recurrent))
            weights = None
        elif not isinstance(module, _PASSING):
            problems.append(f"{path} ({type(module).__name__})")
    if problems or weights is not None or len(layers) < 2:
        where = f" Out of place: {', '.join(problems)}." if problems else ""
        raise ConfigurationError(
            "A chip's limits are known for chains: linear weights, LIF neurons, and so on, with a hidden "
            f"layer and an output layer of neurons.{where}"
        )
    return layers


def _leaves(model: nn.Module, path: str = "") -> list[tuple[str, nn.Module]]:
    """Return the modules of a chain in their order; spiking modules are not looked into."""
    if isinstance(model, (LinearTorch, LIFTorch)) or not model._modules:
        return [(path, model)]
    found = []
    for name, child in model._modules.items():
        if child is not None:
            found += _leaves(child, f"{path}.{name}" if path else name)
    return found


def _check_sizes(limits: ChipLimits) -> None:
    chip, problems = limits.chip, []
    for what, used, limit in (
        ("hidden neurons", limits.neurons, chip.max_hidden),
        ("output neurons", limits.output.neurons, chip.max_outputs),
        ("synapses per neuron", max(layer.synapses for layer in limits.hidden), chip.hidden_synapses),
    ):
        if used > limit:
            problems.append(f"{used} {what} of {limit}")
    if problems:
        raise ConfigurationError(
            f"{chip.title} ({chip.name}) cannot hold this network, however few weights it has: "
            f"{', '.join(problems)}. Use smaller layers."
        )


def _joined(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([tensors[name] for name in names], 1)


def _parted(joined: Tensor, like: Mapping[str, Tensor], names: Sequence[str]) -> Masks:
    parts = joined.split([like[name].shape[1] for name in names], 1)
    return dict(zip(names, parts, strict=True))


def _with_surest(scores: Tensor, mask: Tensor, count: int) -> Tensor:
    """Return the scores with infinity at the ``count`` best weights of a mask."""
    best = keep_largest(scores.masked_fill(~mask, -1), count) & mask
    return scores.masked_fill(best, torch.inf)


def _of_bank(mask: Tensor, bank: int, synapses: int) -> Tensor:
    """Return the part of a mask whose targets are synapses of one bank."""
    there = torch.arange(mask.shape[1], device=mask.device) % synapses == bank
    return mask & there
