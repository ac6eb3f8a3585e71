"""Functions on layers and models that users of ActuallySparse know by these names."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from snnkit.sparse.errors import SparsityError
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.restructure import StructureChange, checked_share

__all__ = ["new_random_basic_coo", "new_random_basic_csr", "prune_sparse_model", "set_global_k"]


def new_random_basic_coo(
    in_features: int,
    out_features: int,
    bias: bool = True,
    k: float = 0.05,
    *,
    density: float = 0.1,
    generator: torch.Generator | None = None,
) -> SparseLayer:
    """Return a layer in the format ``coo`` with random weights at random places; see :class:`SparseLayer`."""
    return SparseLayer(in_features, out_features, bias, k=k, density=density, generator=generator)


def new_random_basic_csr(
    in_features: int,
    out_features: int,
    bias: bool = True,
    k: float = 0.05,
    *,
    density: float = 0.1,
    generator: torch.Generator | None = None,
) -> SparseLayer:
    """Return a layer in the format ``csr`` with random weights at random places; see :class:`SparseLayer`."""
    return SparseLayer(in_features, out_features, bias, True, k=k, density=density, generator=generator)


def _layers(model: nn.Module) -> dict[str, SparseLayer]:
    found = {path: layer for path, layer in model.named_modules() if isinstance(layer, SparseLayer)}
    if not found:
        raise SparsityError(
            "The model has no SparseLayer: convert_model(model, nn.Linear, 'csr') makes them."
        )
    return found


def set_global_k(model: nn.Module, k: float) -> None:
    """Set ``k`` of all sparse layers, at every depth.

    Raises:
        SparsityError: ``k`` is not above 0 and at most 1, or there are no such layers.
    """
    checked_share(k)
    for layer in _layers(model).values():
        layer.set_k(k)


def prune_sparse_model(
    model: nn.Module, dummy_input: Any = None, optimizer: Optimizer | None = None
) -> dict[str, StructureChange]:
    """Prune every sparse layer by its own ``k``; see :meth:`SparseLayer.prune_smallest_values`.

    Args:
        model: any model.
        dummy_input: given, the model is run on it once, in evaluation mode, and the layers that run are
            pruned; a tuple holds several arguments. Without it all are.
        optimizer: as :func:`~snnkit.sparse.change_structure` takes it.

    Returns:
        Path of each layer that was pruned -> what became of its weights.

    Raises:
        SparsityError: nothing would be left of some layer, or there are none; no layer has changed.
    """
    layers = _layers(model)
    if dummy_input is not None:
        reached = _reached(model, dummy_input)
        layers = {path: layer for path, layer in layers.items() if layer in reached}
    emptied = [path or "the model itself" for path, layer in layers.items() if layer.would_empty()]
    if emptied:
        raise SparsityError(
            f"Nothing would be left of {', '.join(emptied)}: lower k, or leave these layers out."
        )
    return {path: layer.prune_smallest_values(optimizer) for path, layer in layers.items()}


def _reached(model: nn.Module, inputs: Any) -> set[nn.Module]:
    """Return the sparse layers that run on these inputs."""
    reached: set[nn.Module] = set()
    layers = [module for module in nn.Module.modules(model) if isinstance(module, SparseLayer)]
    handles = [layer.register_forward_pre_hook(lambda module, _: reached.add(module)) for layer in layers]
    modes = {module: module.training for module in nn.Module.modules(model)}
    try:
        model.eval()
        with torch.no_grad():
            model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return reached
