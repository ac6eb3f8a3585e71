"""How spiking modules with sparse weights are written to the files of graphs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.files import Format, register_format
from snnkit.nn.modules.json_io import module_content, restore_module
from snnkit.nn.modules.json_values import param_to_json
from snnkit.nn.modules.lif import LIFTorch
from snnkit.sparse.spiking.lif import SparseLIFTorch
from snnkit.sparse.spiking.linear import SparseLinearTorch
from snnkit.sparse.synapses import Synapses
from snnkit.utilities.errors import FileFormatError

__all__: list[str] = []

_CHILD = "synapses."


def _write(module: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return what the module's own file would hold, with its tensors apart."""
    content = module_content(module)
    children = content.pop("modules")
    own = (*module._parameters.items(), *module._buffers.items())
    tensors = {name: tensor for name, tensor in own if tensor is not None}
    tensors |= {_CHILD + name: t for name, t in module.synapses.state_dict(keep_vars=True).items()}
    kept = {**content["attributes"], **{_CHILD + n: e for n, e in children["synapses"]["attributes"].items()}}
    attributes = {name: {**e, "value": None} if name in tensors else e for name, e in kept.items()}
    return {**content, "attributes": attributes}, tensors


def _read(cls: type[nn.Module], content: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    if not isinstance(content, dict) or content.get("class") != cls.__name__:
        raise FileFormatError(f"This is no {cls.__name__}: {str(content)[:80]}.")
    attributes, shape = content["attributes"], tuple(content["shape"])
    missing = [name for name in tensors if name not in attributes]
    if missing:
        raise FileFormatError(f"{cls.__name__} has no attributes {', '.join(missing)}.")
    module: Any = _blank(cls, shape, tensors)
    values = {name: {**attributes[name], "value": param_to_json(tensor)} for name, tensor in tensors.items()}
    entries = {**attributes, **values}
    child = {name.removeprefix(_CHILD): e for name, e in entries.items() if name.startswith(_CHILD)}
    synapses = {"class": "Synapses", "shape": None, "attributes": child, "modules": {}}
    own = {name: e for name, e in entries.items() if not name.startswith(_CHILD)}
    restore_module(module, {**content, "attributes": own, "modules": {"synapses": synapses}})
    for name, tensor in tensors.items():
        # The very tensor, which another module may share.
        if name == f"{_CHILD}values":
            module.synapses.values = tensor
        elif name in module._parameters:
            module._parameters[name] = tensor
    return module


def _blank(cls: type[nn.Module], shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a module of the shape with one synapse, made of no more memory than the file holds."""
    size_in, size_out = shape
    sources, targets = (size_in, size_out) if cls is SparseLinearTorch else (size_out, size_in)
    pointers = tensors.get(f"{_CHILD}crow_indices")
    if pointers is None or len(pointers) != sources + 1 or f"{_CHILD}values" not in tensors:
        raise FileFormatError(f"{cls.__name__} of shape {str(shape)[:80]} has other synapses in the file.")
    name = "weight" if cls is SparseLinearTorch else "w_rec"
    first, zero = torch.zeros(1, dtype=torch.int64), tensors[f"{_CHILD}values"].detach().new_zeros(1)
    synapses = Synapses((sources, targets), first, zero, stands_for=name)
    if cls is SparseLinearTorch:
        return SparseLinearTorch.of_synapses(synapses)
    return SparseLIFTorch.of_synapses(LIFTorch((size_in, size_out)), synapses)


def _register(cls: type[nn.Module]) -> None:
    register_format(
        Format(
            f"snnkit.sparse.spiking.{cls.__name__}",
            cls,
            _write,
            lambda content, tensors: _read(cls, content, tensors),
        )
    )


for _cls in (SparseLinearTorch, SparseLIFTorch):
    _register(_cls)
