"""The gradient at all places of a weight, those without a weight included: what regrowing goes by."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import Masked
from snnkit.sparse.synapses import Synapses

__all__ = ["dense_gradients"]


@contextmanager
def dense_gradients(model: nn.Module) -> Iterator[dict[nn.Module, Tensor]]:
    """Collect the dense gradients of sparse and masked layers in the backward passes of a ``with`` block.

    >>> with dense_gradients(model) as found:  # doctest: +SKIP
    ...     loss_of(model, batch).backward()
    >>> found[model.fc1]  # (out_features, in_features)  # doctest: +SKIP

    Forward and backward pass must both be inside. Each layer costs the dense product that its own gradient
    saves; what several passes, or several calls of a layer, give is summed.

    Args:
        model: any model; it may be a layer itself.

    Yields:
        Layer -> gradient of its dense weight; layers that were not reached are missing.
    """
    found: dict[nn.Module, Tensor] = {}
    with ExitStack() as undo:
        for layer in nn.Module.modules(model):
            if isinstance(layer, SparseLayer):
                undo.callback(layer.register_forward_hook(_catcher(found), with_kwargs=True).remove)
            elif isinstance(layer, Masked | Synapses):
                layer.watch = _adder(found, layer)
                undo.callback(setattr, layer, "watch", None)
        yield found


def _adder(found: dict[nn.Module, Tensor], layer: nn.Module) -> Any:
    def add(gradient: Tensor) -> None:
        gradient = gradient.detach()
        found[layer] = found[layer] + gradient if layer in found else gradient.clone()

    return add


def _catcher(found: dict[nn.Module, Tensor]) -> Any:
    def catch(layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
        if not output.requires_grad:
            return
        x, add = (*inputs, *named.values())[0].detach(), _adder(found, layer)

        def of_output(g: Tensor) -> None:
            rows = g.detach().reshape(-1, g.shape[-1])
            with torch.no_grad():
                add(rows.T @ x.to(g.dtype).reshape(-1, x.shape[-1]))

        output.register_hook(of_output)

    return catch
