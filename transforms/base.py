"""Transforms that keep something from call to call: a mask, a learned step, a place in a schedule."""

import copy

from torch import Tensor, nn

__all__ = ["ParameterTransform"]


class ParameterTransform(nn.Module):
    """A parameter transform with a memory; subclass it and write ``forward(value) -> Tensor``.

    One object in a configuration serves as a pattern: patching a network copies it for each
    parameter it applies to (:meth:`bind`), so no two share a mask. Learned parameters of a transform
    are trained with the network's own, and its memory is saved by ``transform_state``.
    """

    targets_first = False
    """Whether the bound weight matrix is ``(targets, sources)``, as that of ``torch.nn.Linear``."""

    def bind(self, value: Tensor, module: nn.Module | None = None) -> "ParameterTransform":
        """Return a copy made for the parameter ``value`` of ``module``."""
        bound = copy.deepcopy(self)
        bound.targets_first = isinstance(module, nn.Linear)
        bound.initialise(value.detach())
        return bound.to(value.device)

    def initialise(self, value: Tensor) -> None:
        """Prepare for the parameter ``value`` (any shape, detached). Does nothing by default."""

    def advance(self) -> None:
        """Move one step along a schedule. Does nothing by default."""

    def freeze(self, value: Tensor) -> None:
        """Keep from now on what was chosen for the parameter ``value``. Does nothing by default."""
