"""The largest values that weights read, channel by channel, on given inputs."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from snnkit.dag.analysis.copying import named_tensors
from snnkit.utilities.errors import DataError

__all__ = ["activation_ranges"]

_OPERANDS = {
    "mm": ((0, 1),),
    "bmm": ((0, 1),),
    "addmm": ((1, 2),),
    "baddbmm": ((1, 2),),
    "linear": ((0, 1),),
}


def activation_ranges(model: nn.Module, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Run a model, and return for its weights the largest absolute value of each channel they read.

    Args:
        model: It runs in evaluation mode, without gradients, and is left as it was.
        batches: Inputs: tensors, or tuples of the positional arguments.

    Raises:
        DataError: There is no batch.

    Returns:
        By path of the weight, float64 tensors that broadcast against it.
    """
    watcher, count = _Watcher(named_tensors(model)), 0
    modes = [(module, module.training) for module in nn.Module.modules(model)]
    nn.Module.eval(model)
    try:
        with torch.no_grad(), watcher:
            for batch in batches:
                model(*batch) if isinstance(batch, list | tuple) else model(batch)
                count += 1
    finally:
        for module, training in modes:
            module.training = training
    if not count:
        raise DataError("Activations were to be calibrated on no batch at all.")
    return {name: seen.cpu() for name, seen in watcher.found.items()}


class _Watcher(TorchDispatchMode):
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.found: dict[str, Tensor] = {}
        self._owners = {
            tensor.untyped_storage().data_ptr(): (name, tensor)
            for name, tensor in reversed(list(tensors.items()))
            if isinstance(tensor, nn.Parameter) and tensor.dim() > 1
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kind = func._schema.name.split("::")[-1]
        if kind == "convolution":
            self._see_convolution(args[0], args[1], transposed=bool(args[6]), groups=int(args[8]))
        for one, other in _OPERANDS.get(kind, ()):
            self._see(args[one], args[other], -1 if kind == "linear" else -2)
            self._see(args[other], args[one], -1)
        return func(*args, **(kwargs or {}))

    def _see(self, x: Tensor, weight: Tensor, axis: int) -> None:
        """Note what a product reads; ``axis`` of the weight is summed over."""
        owner = self._owners.get(weight.untyped_storage().data_ptr())
        if owner is None or x.untyped_storage().data_ptr() in self._owners:
            return
        name, whole = owner
        summed = -2 if axis == -1 and weight.dim() > 1 and x.shape[-1] != weight.shape[-1] else -1
        seen = x.abs().movedim(summed, -1).reshape(-1, x.shape[summed]).amax(0)
        # Which axis of the parameter this is, and which of its indices a slice has.
        for position, (size, stride) in enumerate(zip(whole.shape, whole.stride(), strict=True)):
            if stride == weight.stride(axis) and size > 1:
                start = (weight.storage_offset() - whole.storage_offset()) // stride % size
                shape = [1] * whole.dim()
                shape[position] = size
                spread = torch.zeros(size, dtype=torch.float64, device=x.device)
                spread[start : start + len(seen)] = seen.double()[: size - start]
                self._note(name, spread.reshape(shape))
                return

    def _see_convolution(self, x: Tensor, weight: Tensor, *, transposed: bool, groups: int) -> None:
        owner = self._owners.get(weight.untyped_storage().data_ptr())
        if owner is None or x.dim() != weight.dim():
            return
        seen = x.abs().movedim(1, 0).flatten(1).amax(1).double()
        taps = [1] * (weight.dim() - 2)
        if transposed or groups == 1:
            spread = seen.reshape(*((-1, 1) if transposed else (1, -1)), *taps)
        else:
            rows = seen.reshape(groups, -1).repeat_interleave(weight.shape[0] // groups, 0)
            spread = rows.reshape(*rows.shape, *taps)
        self._note(owner[0], spread)

    def _note(self, name: str, seen: Tensor) -> None:
        before = self.found.get(name)
        self.found[name] = seen if before is None or before.shape != seen.shape else before.maximum(seen)
