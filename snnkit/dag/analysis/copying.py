"""A copy of a model for recording: the same modules, but tensors without memory."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from snnkit.dag.analysis.tape import TapeError

__all__ = ["copy_for_recording", "held_tensors", "named_tensors", "plain_path", "to_meta"]


def copy_for_recording(model: nn.Module, *, meta: bool) -> nn.Module:
    """Return a copy of ``model`` in evaluation mode; its tensors are on the meta device if ``meta``.

    Without ``meta`` the copy has the tensors of the model itself where it only reads them (parameters), and
    copies of all others, so that running it leaves the model as it is.
    """
    memo: dict[int, Any] = {}
    for tensor in held_tensors(model):
        if is_lazy(tensor):
            raise TapeError("the model has lazy parameters: run it once, so that they get their shapes.")
        if id(tensor) not in memo:
            memo[id(tensor)] = to_meta(tensor) if meta else _detached(tensor)
    # deepcopy looks its memo up before it copies: no weight is copied.
    duplicate = copy.deepcopy(model, memo)
    for module in nn.Module.modules(duplicate):
        module.training = False
    return duplicate


def to_meta(value: Any) -> Any:
    """Return a tensor without memory of the same shape, strides and type; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    if value.device.type == "meta" and not isinstance(value, nn.Parameter):
        return value.detach()
    empty = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(value, nn.Parameter) else empty


def _detached(tensor: Tensor) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(tensor.detach(), requires_grad=False)
    return tensor.detach().clone()


def plain_path(path: str) -> str:
    """Return the path of a module or tensor without what a :class:`~snnkit.dag.DagModule` puts between."""
    return ".".join(part.replace("/", ".") for part in path.split(".") if part != "vertex_modules")


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters, then buffers, by plain path; shared ones under each of their paths."""
    parameters = nn.Module.named_parameters(model, remove_duplicate=False)
    buffers = nn.Module.named_buffers(model, remove_duplicate=False)
    return {plain_path(name): tensor for named in (parameters, buffers) for name, tensor in named}


def held_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Walk the tensors that the modules hold: parameters, buffers, plain attributes, lists of them."""
    for module in nn.Module.modules(model):
        yield from (p for p in module._parameters.values() if p is not None)
        yield from (b for b in module._buffers.values() if b is not None)
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _tensors_in(value)


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors_in(item)
