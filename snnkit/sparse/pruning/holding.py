"""Keeping pruned weights at zero while an optimiser trains: hooks on the optimiser, in any training loop."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.masks import Masks, check_masks
from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.utilities.errors import ConfigurationError

__all__ = ["MaskHolder", "hold_masks"]


class MaskHolder:
    """Masks that hold through training; see :func:`hold_masks`. The base of the pruning drivers.

    Before a step of the optimiser, gradients of what is pruned are set to 0, so that its momenta stay 0;
    after it the weights are, whatever weight decay or noise did. Sparse layers hold their structure
    themselves.

    Attributes:
        steps: Steps of the optimiser so far.
    """

    def __init__(
        self, weights: Sequence[PrunableWeight], masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> None:
        _check_optimizer(optimizer)
        self.weights = tuple(weights)
        self.optimizer = optimizer
        self.steps = 0
        self._masks: Masks = {}
        # A mask may only drop: what a sparse layer lacks is not there to be kept.
        self._set(
            {w.name: masks[w.name].to(w.parameter.device) & w.present() for w in weights if w.name in masks}
        )
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    @property
    def masks(self) -> Masks:
        """The masks that hold now, by name; weights that nothing was dropped from are left out."""
        return {
            w.name: w.present() if w.stored else self._masks[w.name] for w in self.weights if self._has(w)
        }

    def remove(self) -> None:
        """Stop; weights stay as they are."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return steps and masks, for a checkpoint beside those of model and optimiser."""
        return {"steps": self.steps, "masks": {name: mask.clone() for name, mask in self.masks.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the weights are masked at once.

        Raises:
            ConfigurationError: the masks do not fit the model; nothing is changed.
        """
        self._set(check_masks(self.weights, state["masks"]))
        self.steps = int(state["steps"])

    def _has(self, weight: PrunableWeight) -> bool:
        return weight.stored or weight.name in self._masks

    def _set(self, masks: Mapping[str, Tensor]) -> None:
        """Let these masks hold from now on."""
        for weight in self.weights:
            if weight.name in masks:
                mask = masks[weight.name].to(weight.parameter.device)
                weight.restrict(mask, self.optimizer)
                if not weight.stored:
                    self._masks[weight.name] = mask

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if any(callable(value) for value in (*args, *kwargs.values())):
            raise ConfigurationError(
                "optimizer.step(closure) computes gradients where masks cannot reach them: call backward() "
                "first, then optimizer.step()."
            )
        for weight in self.weights:
            gradient = weight.parameter.grad
            if weight.name in self._masks and gradient is not None:
                gradient.masked_fill_(~self._masks[weight.name], 0)

    @torch.no_grad()
    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for weight in self.weights:
            if weight.name in self._masks:
                weight.parameter.masked_fill_(~self._masks[weight.name], 0)
        self.steps += 1


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigurationError(
            "LBFGS computes gradients within its step and keeps a history of directions, so pruned weights "
            "would not stay at 0. Use another optimiser, such as Adam or SGD."
        )


def hold_masks(model: nn.Module, masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> MaskHolder:
    """Apply masks, and keep what they drop at 0 through all following steps of the optimiser.

    Args:
        model: Any module.
        masks: By name; weights that are not named stay dense.
        optimizer: Of the training; any that computes gradients before its step.

    Returns:
        The holder: ``remove()`` ends it, and so does leaving its ``with`` block.

    Raises:
        ConfigurationError: see :func:`~snnkit.sparse.pruning.masks.check_masks`; LBFGS.

    Example:
        >>> from snnkit.sparse.pruning import prune_masks
        >>> model = nn.Linear(8, 8)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> holder = hold_masks(model, prune_masks(model, 0.75), optimizer)
        >>> _ = model(torch.randn(4, 8)).square().sum().backward(), optimizer.step()
        >>> int((model.weight != 0).sum())
        16
    """
    weights = prunable_weights(model, list(masks) or None)
    return MaskHolder(weights, check_masks(weights, masks), optimizer)
