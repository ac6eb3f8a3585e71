"""All layers of a model from one form to another, and which of them are sparse."""

from collections.abc import Mapping

from torch import Tensor, nn

from snnkit.sparse.convert import TARGETS, convert, weight_parameter
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import Masked
from snnkit.utilities.errors import unknown_key_message

__all__ = ["convert_model", "sparse_layers"]

Kinds = type[nn.Module] | tuple[type[nn.Module], ...]


def sparse_layers(model: nn.Module) -> dict[str, SparseLayer | Masked]:
    """Return the sparse and masked layers of a model by path, each once; the model itself has the path "
    "``""``."""
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, SparseLayer | Masked)}


def convert_model(
    model: nn.Module,
    layer_type: Kinds,
    target: str,
    mask: Mapping[str, Tensor] | None = None,
    *,
    block: tuple[int, int] = (4, 4),
) -> nn.Module:
    """Convert all layers of a type inside a model, which is changed, and return it.

    Layers are found at every depth. One that is used in several places stays one; a model that is itself such
    a layer comes back as another one. Subclasses of the type are converted if they leave ``forward`` as it
    is; with a forward of their own they are an error. The output projection of ``nn.MultiheadAttention``
    stays dense: torch reads its weight without calling the layer. Make optimisers afterwards: the parameters
    are new.

    Args:
        model: any model.
        layer_type: class of the layers, or several: ``nn.Linear``, :class:`SparseLayer`, ``nn.Conv2d``.
        target: as in :func:`~snnkit.sparse.convert`.
        mask: layer's path, or its weight's (``fc`` or ``fc.weight``) -> mask; other layers drop their zeros.
        block: as in :func:`~snnkit.sparse.convert`.

    Raises:
        SparsityError: some layers cannot be converted, share a weight with another module, or a mask belongs
            to no layer; all are named, and the model is as it was.
    """
    if target not in TARGETS:
        raise SparsityError(unknown_key_message("conversion target", str(target), TARGETS))
    found = _layers(model, layer_type)
    masks = _masks_by_path(mask or {}, found)
    problems, made = _tied(model, found), dict[nn.Module, nn.Module]()
    for path, layer in found.items():
        try:
            made[layer] = convert(layer, target, masks.get(path), block=block)
        except SparsityError as error:
            problems.append(f"{path or 'the model itself'}: {error}")
    if problems:
        raise SparsityError("convert_model() changed nothing:\n" + "\n".join(problems))
    for module in list(nn.Module.modules(model)):
        for name, child in list(module._modules.items()):
            if child in made:
                module._modules[name] = made[child]
                _leave_fast_path(module)
    for module in nn.Module.modules(model):
        if isinstance(module, nn.TransformerEncoder):
            _leave_nested_tensors(module)
    return made.get(model, model)


def _layers(model: nn.Module, layer_type: Kinds) -> dict[str, nn.Module]:
    kinds = layer_type if isinstance(layer_type, tuple) else (layer_type,)
    if not all(isinstance(kind, type) and issubclass(kind, nn.Module) for kind in kinds):
        raise SparsityError(f"layer_type must be a class of layers, such as nn.Linear, not {layer_type!r}.")
    inside = {
        child
        for m in nn.Module.modules(model)
        if isinstance(m, nn.MultiheadAttention)
        for child in m.modules()
    }
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, kinds) and layer not in inside
    }


def _masks_by_path(masks: Mapping[str, Tensor], found: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the masks by the path of their layer."""
    by_path = {}
    for name, mask in masks.items():
        path = name if name in found else name.removesuffix("weight").removesuffix(".")
        if path not in found or path in by_path:
            raise SparsityError(
                f"mask: two masks for the layer {path!r}."
                if path in by_path
                else f"mask: {unknown_key_message('layer', name, found)}"
            )
        by_path[path] = mask
    return by_path


def _tied(model: nn.Module, found: Mapping[str, nn.Module]) -> list[str]:
    """Say which layers share a parameter with other modules: each would have one of its own afterwards."""
    owners: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(path)
    problems = []
    for path, layer in found.items():
        for name, parameter in (("weight", weight_parameter(layer)), ("bias", layer._parameters.get("bias"))):
            others = [other for other in owners.get(id(parameter), []) if other != path]
            if others:
                problems.append(
                    f"{path or 'the model itself'} shares its {name} with {', '.join(others)}, and would not "
                    "any more: use one layer in both places, or untie them first."
                )
    return problems


def _leave_fast_path(module: nn.Module) -> None:
    """Have a transformer's layer call its linear layers: torch's fast path reads their weights instead."""
    if isinstance(module, nn.TransformerEncoderLayer):
        module.activation_relu_or_gelu = 0


def _leave_nested_tensors(encoder: nn.TransformerEncoder) -> None:
    """Keep padded batches as they are where layers have left the fast path, which nested tensors need."""
    if any(getattr(layer, "activation_relu_or_gelu", None) == 0 for layer in encoder.layers):
        encoder.use_nested_tensor = False
