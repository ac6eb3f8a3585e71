"""Activation functions by name, as configurations write them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["ACTIVATIONS", "activation"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "identity": lambda x: x,
}
"""ReLU and leaky ReLU are positively homogeneous: f(c x) = c f(x) for c > 0. Tanh is odd."""


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation called ``name``; for an unknown one ConfigurationError names the nearest."""
    if name not in ACTIVATIONS:
        raise ConfigurationError(unknown_key_message("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]
