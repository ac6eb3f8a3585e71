"""Combinators: networks made of modules."""

from snnkit.nn.combinators.ffwd_stack import FFwdStack, FFwdStackMixin, TorchFFwdStack
from snnkit.nn.combinators.residual import Residual, ResidualMixin, TorchResidual
from snnkit.nn.combinators.sequential import Sequential, SequentialMixin, TorchSequential

__all__ = [
    "FFwdStack",
    "FFwdStackMixin",
    "Residual",
    "ResidualMixin",
    "Sequential",
    "SequentialMixin",
    "TorchFFwdStack",
    "TorchResidual",
    "TorchSequential",
]
