"""What a network's events cost: how many synapses they reach, to be counted or made part of a loss."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.masks import masks_of
from snnkit.sparse.spiking.limits import Layer, chain_of
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["synaptic_events"]


def synaptic_events(
    model: nn.Module, data: Tensor, record: Mapping[str, Any], costs: Mapping[str, float] | None = None
) -> Tensor:
    """Return how many synapses the events of a time step reach, on average over batch and time.

    This is ``sum of fan-out x event rate`` over all sources, on which an event-driven chip spends cycles. It
    can be differentiated with respect to the events, so that a loss may contain it; fan-outs are counted as
    they are. Zeros of dense weights are no synapses.

    Args:
        model: a chain of linear weights and LIF neurons, dense or sparse.
        data: events given to it, ``(batch, time, channels)``.
        record: what ``model(data, record=True)`` returned third.
        costs: of one event at one synapse, by the name of the matrix; 1 for those that are missing. A chip
            whose cycles differ from matrix to matrix gives its own.

    Raises:
        ConfigurationError: the model is no such chain, the record is not of it, or a cost has no matrix.
    """
    chain = chain_of(model)
    masks = masks_of(model)
    given = costs or {}
    wrong = [unknown_key_message("weight", name, masks) for name in given if name not in masks]
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    total = data.new_zeros(())
    rates = data.mean(dim=(0, 1))
    for layer in chain:
        total = total + given.get(layer.incoming, 1.0) * _reached(masks[layer.incoming], rates)
        rates = _spikes(record, layer).mean(dim=(0, 1))
        if layer.recurrent:
            total = total + given.get(layer.recurrent, 1.0) * _reached(masks[layer.recurrent], rates)
    return total


def _reached(mask: Tensor, rates: Tensor) -> Tensor:
    return torch.dot(mask.sum(1).to(rates.dtype), rates)


def _spikes(record: Mapping[str, Any], layer: Layer) -> Tensor:
    found: Any = reduce(
        lambda tree, name: tree.get(name, {}) if isinstance(tree, Mapping) else {},
        [*layer.path.split("."), "spikes"],
        record,
    )
    if not isinstance(found, Tensor):
        raise ConfigurationError(
            f"The record has no events of {layer.path}: give what the model returns third with record=True."
        )
    return found
