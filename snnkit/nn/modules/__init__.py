"""Modules: the base class, weights, neurons, dropouts and encoders, under Rockpool's names."""

from snnkit.nn.modules.conversion import convert
from snnkit.nn.modules.module import TorchModule, UnexpectedArgumentError
from snnkit.nn.modules.trees import TorchModuleParameters

__all__ = [
    "TorchModule",
    "TorchModuleParameters",
    "UnexpectedArgumentError",
    "convert",
]
