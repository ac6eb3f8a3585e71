"""How spiking modules are written to the files of graphs."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from snnkit.dag.files import Format, register_format
from snnkit.nn import modules
from snnkit.nn.modules.json_io import module_content, restore_module
from snnkit.nn.modules.json_values import param_to_json
from snnkit.nn.modules.module import TorchModule
from snnkit.utilities.errors import FileFormatError

__all__: list[str] = []


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for store in (module._parameters, module._buffers):
        for name, value in store.items():
            if value is not None:
                yield name, value


def _write(module: TorchModule) -> tuple[Any, dict[str, Tensor]]:
    """Return what the module's own file would hold, with its tensors apart."""
    tensors = dict(_own_tensors(module))
    content = module_content(module)
    for name in tensors:
        content["attributes"][name] = {**content["attributes"][name], "value": None}
    return content, tensors


def _read(cls: type[TorchModule], content: Any, tensors: Mapping[str, Tensor]) -> TorchModule:
    if not isinstance(content, dict) or content.get("class") != cls.__name__ or content.get("modules"):
        raise FileFormatError(f"This is no {cls.__name__}: {str(content)[:80]}.")
    attributes = content["attributes"]
    unknown = [name for name in tensors if name not in attributes]
    if unknown:
        raise FileFormatError(f"{cls.__name__} has no attributes {', '.join(unknown)}.")
    values = {name: {**attributes[name], "value": param_to_json(tensor)} for name, tensor in tensors.items()}
    shape = tuple(content["shape"])
    if cls is modules.LinearTorch and ("weight" not in tensors or tuple(tensors["weight"].shape) != shape):
        # Before a matrix is made of what the file claims, not of what it holds.
        raise FileFormatError(f"LinearTorch of shape {str(shape)[:80]} does not have the weight in the file.")
    module = _make(cls, shape)
    restore_module(module, {**content, "attributes": {**attributes, **values}})
    for name, tensor in tensors.items():
        # The very tensor, which another module may share.
        store = module._parameters if name in module._parameters else module._buffers
        store[name] = tensor
    return module


def _make(cls: type[TorchModule], shape: tuple[int, ...]) -> Any:
    """Return a module of the shape, with the defaults for all else."""
    if cls is modules.UpDownTorch:
        return cls(shape[:1])
    return cls(shape)


_CLASSES: tuple[type[TorchModule], ...] = (
    modules.BooleanState,
    modules.ExpSynTorch,
    modules.InstantTorch,
    modules.LIFBitshiftTorch,
    modules.LIFNeuronTorch,
    modules.LIFTorch,
    modules.LinearTorch,
    modules.RateTorch,
    modules.TimeStepDropout,
    modules.UnitDropout,
    modules.UpDownTorch,
    modules.aLIFTorch,
)


def _register(cls: type[TorchModule]) -> None:
    register_format(
        Format(f"snnkit.{cls.__name__}", cls, _write, lambda content, tensors: _read(cls, content, tensors))
    )


for _cls in _CLASSES:
    _register(_cls)
