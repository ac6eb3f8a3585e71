"""Weights of the user's own file, for the models of the experiments."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays

__all__ = ["load_weights", "read_weights"]

_FOREIGN = re.compile(r"(features|classifier)\.(\d+)\.(\w+)")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file: ``.safetensors``, or what ``torch.save`` made of a state dict.

    Nothing in the file is executed: a file of ``torch.save`` that holds more than tensors is refused.

    Raises:
        FileFormatError: there is no such file, or it holds something else.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return {name: torch.from_numpy(array) for name, array in read_arrays(path)[0].items()}
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist.") from error
    except Exception as error:  # torch raises errors of many kinds for damaged files
        raise FileFormatError(f"{path} is not a file of tensors alone: {error}") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise FileFormatError(f"{path} holds no state dict: names with tensors are expected.")
    return dict(found)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights of a file into a model, by its own names or by those of torchvision's VGG.

    There, layers are ``features.0``, ``features.1``, ..., ``classifier.0``, ... in the order in which they
    run, and convolutions before a batch norm have biases. A norm takes such a bias into its running mean,
    which is the same function.

    Raises:
        FileFormatError: the file cannot be read, or its tensors are not those of the model; the message lists
            what differs, and the model is unchanged.
    """
    found = read_weights(path)
    if found and all(_FOREIGN.fullmatch(name) for name in found):
        found = _translated(model, found, Path(path))
    own = model.state_dict()
    problems = [f"{name} is missing." for name in own if name not in found]
    problems += [f"{name} is not in the model." for name in found if name not in own]
    problems += [
        f"{name} is {tuple(found[name].shape)} in the file, {tuple(own[name].shape)} in the model."
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if problems:
        shown = "\n".join(problems[:10]) + (
            f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        )
        raise FileFormatError(f"{path} does not fit {type(model).__name__}:\n{shown}")
    model.load_state_dict(found)


def _translated(model: nn.Module, found: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return tensors by the model's names: the layers of both, in their order, are the same."""
    theirs: dict[tuple[str, int], dict[str, Tensor]] = {}
    for name, tensor in found.items():
        match = _FOREIGN.fullmatch(name)
        assert match is not None
        part, place, attribute = match.groups()
        theirs.setdefault((part, int(place)), {})[attribute] = tensor
    layers = [theirs[key] for key in sorted(theirs, key=lambda key: (key[0] != "features", key[1]))]
    wanted = _layers_in_order(model)
    if len(layers) != len(wanted):
        raise FileFormatError(
            f"{path} holds {len(layers)} layers with weights, {type(model).__name__} has {len(wanted)}."
        )
    result: dict[str, Tensor] = {}
    pending: Tensor | None = None
    for layer, (name, module) in zip(layers, wanted, strict=True):
        tensors = dict(layer)
        if pending is not None and "running_mean" in tensors:
            tensors["running_mean"] = tensors["running_mean"] - pending
        unwanted = isinstance(module, nn.modules.conv._ConvNd) and module.bias is None
        pending = tensors.pop("bias", None) if unwanted else None
        result |= {f"{name}.{attribute}": tensor for attribute, tensor in tensors.items()}
    return result


def _layers_in_order(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return convolutions and norms alternating, as they run, then the rest."""
    named = [(name, module) for name, module in model.named_modules() if module._parameters]
    convolutions = [item for item in named if isinstance(item[1], nn.modules.conv._ConvNd)]
    norms = [item for item in named if isinstance(item[1], nn.modules.batchnorm._BatchNorm)]
    rest = [item for item in named if item not in convolutions and item not in norms]
    if norms and len(norms) == len(convolutions):
        first = [item for pair in zip(convolutions, norms, strict=True) for item in pair]
    else:
        first = convolutions
    return [*first, *rest]
