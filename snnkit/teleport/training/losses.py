"""The loss of a model on given batches, its gradient and its curvature, without leaving a trace in the
model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnkit.utilities.errors import ConfigurationError, DataError

__all__ = ["LossFunction", "LossOnBatches"]

LossFunction = Callable[[nn.Module, Any], Tensor]
"""``loss(model, batch)``: a mean over the batch, one number."""


class LossOnBatches:
    """A model's loss on batches that stay the same, as a function of its trained parameters.

    Parameters, their gradients, buffers and torch's random state are as before after every call. Dropout
    draws the same masks in every call.

    Args:
        model: Evaluated in the mode in which it is.
        loss: ``loss(model, batch)``, one number.
        batches: At least one; their losses are averaged.
        seed: Of what is random in the model.

    Raises:
        DataError: there is no batch.
        ConfigurationError: no parameter of the model requires a gradient.
    """

    def __init__(self, model: nn.Module, loss: LossFunction, batches: Iterable[Any], seed: int = 0) -> None:
        self.model, self.batches, self.seed = model, tuple(batches), seed
        self._call, self._loss = _Call(model, loss), loss
        # Our own modules answer `parameters()` with a tree; torch's method is meant here.
        self.parameters = {n: p for n, p in nn.Module.named_parameters(model) if p.requires_grad}
        if not self.batches:
            raise DataError("A loss was asked for on no batch at all.")
        if not self.parameters:
            raise ConfigurationError("No parameter of the model requires a gradient.")

    def of(self, model: nn.Module) -> "LossOnBatches":
        """Return the same loss of another model."""
        return LossOnBatches(model, self._loss, self.batches, self.seed)

    def value(self, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the mean loss, differentiable in ``parameters``; the model's own where none are given."""
        return sum(self._values(parameters or {}), torch.zeros(())) / len(self.batches)

    @torch.enable_grad()
    def gradients(self) -> dict[str, Tensor]:
        """Return the gradient with respect to every trained parameter, by name; zeros where there is none."""
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        total = {name: torch.zeros_like(p) for name, p in leaves.items()}
        for value in self._values(leaves):  # One batch at a time: no more memory than training.
            found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
            for name, gradient in zip(leaves, found, strict=True):
                if gradient is not None:
                    total[name] += gradient / len(self.batches)
        return total

    @torch.enable_grad()
    def hessian_times(self, vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the Hessian times a vector (Pearlmutter, 1994), both by name of parameter."""
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        total = {name: torch.zeros_like(p) for name, p in leaves.items()}
        for value in self._values(leaves):
            slope = torch.autograd.grad(value, list(leaves.values()), create_graph=True, allow_unused=True)
            terms = [(g * vector[name]).sum() for name, g in zip(leaves, slope, strict=True) if g is not None]
            along = sum(terms, torch.zeros((), dtype=value.dtype, device=value.device))
            if not along.requires_grad:
                continue
            found = torch.autograd.grad(along, list(leaves.values()), allow_unused=True)
            for name, product in zip(leaves, found, strict=True):
                if product is not None:
                    total[name] += product / len(self.batches)
        return total

    def _values(self, parameters: Mapping[str, Tensor]) -> Iterator[Tensor]:
        # Copies of buffers take what the model writes: statistics, states, counts of batches.
        buffers = dict(nn.Module.named_buffers(self.model))
        for batch in self.batches:
            values = {**parameters, **{name: buffer.clone() for name, buffer in buffers.items()}}
            with _seeded(self.model, self.seed):
                yield functional_call(self._call, {f"model.{n}": v for n, v in values.items()}, (batch,))


class _Call(nn.Module):
    """The loss as a module, so that functional_call can put other parameters in the model's place."""

    def __init__(self, model: nn.Module, loss: LossFunction) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Draw the same random numbers inside each time, and go on afterwards as if nothing had been drawn."""
    devices = sorted({p.device.index for p in nn.Module.parameters(model) if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
