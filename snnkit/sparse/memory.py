"""What a model takes in memory: the bytes of its storages, each once."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkit.sparse.weight import SparseWeight

__all__ = ["LayerMemory", "Memory", "memory"]


@dataclass(frozen=True)
class LayerMemory:
    """Bytes of one module's own tensors; those that an earlier module has as well count there.

    Attributes:
        path: Of the module.
        kind: Its class, and the format of a sparse layer.
        values: Bytes of parameters, and of buffers that hold numbers.
        indices: Bytes that say where weights are: indices, pointers and masks.
        dense: Bytes that the parameters would have as dense tensors.
    """

    path: str
    kind: str
    values: int
    indices: int
    dense: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.values + self.indices


@dataclass(frozen=True)
class Memory:
    """Bytes of a model.

    Attributes:
        layers: Modules that have tensors of their own.
    """

    layers: tuple[LayerMemory, ...]

    @property
    def total(self) -> int:
        """All bytes: the sum of the sizes of all storages."""
        return sum(layer.total for layer in self.layers)

    @property
    def dense(self) -> int:
        """Bytes of the parameters if all weights were dense."""
        return sum(layer.dense for layer in self.layers)

    def __int__(self) -> int:
        return self.total

    def __str__(self) -> str:
        lines = [f"{'layer':24s} {'kind':20s} {'values':>12s} {'indices':>12s} {'dense':>12s}"]
        lines += [
            f"{layer.path or '(model)':24s} {layer.kind:20s} {layer.values:12,d} {layer.indices:12,d} "
            f"{layer.dense:12,d}"
            for layer in self.layers
        ]
        share = self.total / self.dense if self.dense else 0.0
        return "\n".join([*lines, f"{self.total:,} bytes, {share:.1%} of {self.dense:,} bytes dense"])


def memory(model: nn.Module) -> Memory:
    """Return the bytes that a model takes: all storages of its parameters and buffers, shared ones once.

    A storage counts whole, also where a tensor shows a part of it. Gradients, the states of optimisers and
    activations are not in it. Sparse layers that have been trained keep their weight's other direction
    until ``eval()``: it counts as long as it is there.

    Args:
        model: any model.
    """
    seen: set[tuple[torch.device, int]] = set()
    layers = []
    for path, module in model.named_modules():
        own = [tensor for tensor in _tensors(module) if _new(tensor, seen)]
        if own:
            values = sum(_bytes(tensor) for tensor in own if _holds_numbers(tensor))
            indices = sum(_bytes(tensor) for tensor in own if not _holds_numbers(tensor))
            layers.append(LayerMemory(path, _kind(module), values, indices, _dense_bytes(module, own)))
    return Memory(tuple(layers))


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Yield a module's own tensors, those that sparse tensors are made of in their place."""
    for store in (module._parameters, module._buffers):
        for tensor in store.values():
            if tensor is not None:
                yield from _parts(tensor)
    if isinstance(module, SparseWeight):
        yield from module._turned


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    layout = tensor.layout
    if layout == torch.sparse_coo:
        yield from (tensor._indices(), tensor._values())
    elif layout in (torch.sparse_csr, torch.sparse_bsr):
        yield from (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    elif layout in (torch.sparse_csc, torch.sparse_bsc):
        yield from (tensor.ccol_indices(), tensor.row_indices(), tensor.values())
    elif hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            yield from _parts(getattr(tensor, name))
    else:
        yield tensor


def _new(tensor: Tensor, seen: set[tuple[torch.device, int]]) -> bool:
    """Whether a tensor's storage has not been seen."""
    storage = tensor.untyped_storage()
    key = (tensor.device, storage.data_ptr() or id(tensor))
    if key in seen:
        return False
    seen.add(key)
    return True


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _holds_numbers(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    return f"{name} {module.format}" if isinstance(module, SparseWeight) else name


def _dense_bytes(module: nn.Module, own: list[Tensor]) -> int:
    numbers = sum(_bytes(tensor) for tensor in own if _holds_numbers(tensor))
    if not isinstance(module, SparseWeight) or not any(tensor is module.values for tensor in own):
        return numbers
    size = module.values.element_size()
    return numbers - _bytes(module.values) + module.out_features * module.in_features * size
