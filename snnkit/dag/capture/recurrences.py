"""Recurrent layers on the meta device: shapes alone, since torch would run them step by step."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["shorten_recurrences"]

_LAYERS = (nn.RNN, nn.GRU, nn.LSTM)


def shorten_recurrences(clone: nn.Module) -> None:
    """Let the recurrent layers of a clone on the meta device return empty results of the right shapes."""
    for module in nn.Module.modules(clone):
        if type(module) in _LAYERS:
            module.forward = partial(_empty_results, module)


def _empty_results(layer: Any, input: Any, hx: Any = None) -> Any:
    if not isinstance(input, Tensor) or input.dim() not in (2, 3):
        # Packed sequences, and what the layer itself refuses.
        return type(layer).forward(layer, input, hx)
    directions = 2 if layer.bidirectional else 1
    width = layer.proj_size or layer.hidden_size
    batch = [input.shape[0 if layer.batch_first else 1]] if input.dim() == 3 else []
    _check(layer, input)
    output = torch.empty(*input.shape[:-1], directions * width, dtype=input.dtype, device="meta")
    states = [
        torch.empty(directions * layer.num_layers, *batch, size, dtype=input.dtype, device="meta")
        for size in ((width, layer.hidden_size) if isinstance(layer, nn.LSTM) else (width,))
    ]
    return output, tuple(states) if isinstance(layer, nn.LSTM) else states[0]


def _check(layer: Any, input: Tensor) -> None:
    if input.shape[-1] != layer.input_size:
        raise RuntimeError(f"The layer takes {layer.input_size} features, not {input.shape[-1]}.")
