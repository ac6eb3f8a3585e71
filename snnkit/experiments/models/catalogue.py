"""Models by the names that configurations and papers use."""

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from snnkit.experiments.models.densenet import DenseNet
from snnkit.experiments.models.mlp import MLP
from snnkit.experiments.models.mobilenet import MobileNet
from snnkit.experiments.models.resnet import ResNet, ResNeXt
from snnkit.experiments.models.unet import UNet
from snnkit.experiments.models.vgg import VGG
from snnkit.experiments.models.vit import ViT
from snnkit.experiments.models.wide_resnet import WideResNet
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["MODELS", "build_model", "model_arguments", "model_problems"]

_CLASSES: dict[str, type[nn.Module]] = {
    cls.__name__: cls for cls in (MLP, VGG, ResNet, ResNeXt, WideResNet, DenseNet, UNet, ViT, MobileNet)
}

MODELS: Mapping[str, tuple[type[nn.Module], Mapping[str, Any]]] = MappingProxyType(
    {name: (cls, {}) for name, cls in _CLASSES.items()}
    | {f"VGG{depth}": (VGG, {"depth": depth}) for depth in (11, 13, 16, 19)}
    | {f"VGG{depth}_bn": (VGG, {"depth": depth, "batch_norm": True}) for depth in (11, 13, 16, 19)}
    | {f"ResNet{depth}": (ResNet, {"depth": depth}) for depth in (18, 34, 50, 101, 152)}
    | {f"ResNeXt{depth}": (ResNeXt, {"depth": depth}) for depth in (50, 101)}
    | {"WideResNet50_2": (ResNet, {"depth": 50, "group_width": 128})}
    | {f"DenseNet{depth}": (DenseNet, {"depth": depth}) for depth in (121, 169, 201)}
)
"""Name -> class and the arguments that the name stands for."""

_SMALL: dict[type[nn.Module], dict[str, Any]] = {
    MLP: {"hidden": (32, 32)},
    VGG: {"width": 8, "hidden": (32,)},
    ResNet: {"width": 8, "blocks": (1, 1, 1)},
    ResNeXt: {"width": 8, "blocks": (1, 1, 1), "groups": 4, "group_width": 2},
    WideResNet: {"depth": 10, "widen": 1, "width": 8},
    DenseNet: {"growth": 6, "blocks": (2, 2, 2)},
    UNet: {"width": 8, "levels": 2},
    ViT: {"patch": 2, "width": 24, "depth": 2, "heads": 3, "mlp_ratio": 2.0},
    MobileNet: {"width": 0.25},
}
_SMALL_BY_NAME: dict[str, dict[str, Any]] = {"WideResNet50_2": {"group_width": 16}}
_FROM_DATA = ("inputs", "in_channels", "image_size", "classes")


def model_arguments(name: str) -> dict[str, Any]:
    """Return what may be set of the model ``name``, with defaults; image size and classes come from the data.

    Raises:
        ConfigurationError: no such model; the message names the nearest.
    """
    if name not in MODELS:
        raise ConfigurationError(unknown_key_message("model", name, MODELS))
    cls, fixed = MODELS[name]
    found = inspect.signature(cls).parameters.values()
    return {p.name: fixed.get(p.name, p.default) for p in found if p.name not in _FROM_DATA}


def model_problems(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Say everything that is wrong with a model's name and the names of its arguments."""
    try:
        known = model_arguments(name)
    except ConfigurationError as error:
        return [str(error)]
    return [unknown_key_message(f"argument of {name}", key, known) for key in arguments if key not in known]


def _small(name: str) -> dict[str, Any]:
    return _SMALL[MODELS[name][0]] | _SMALL_BY_NAME.get(name, {})


def build_model(
    name: str,
    shape: Sequence[int],
    classes: int,
    arguments: Mapping[str, Any] = MappingProxyType({}),
    *,
    small: bool = False,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Return a new model for images of ``shape`` ``(channels, height, width)``.

    Args:
        name: A name of :data:`MODELS`: "MLP", "VGG16_bn", "ResNet18", ...
        shape: Shape of one image. A ViT needs square ones, a UNet sides that are multiples of 2^levels.
        classes: Scores that come out.
        arguments: Arguments of the model's class that replace its defaults.
        small: Narrow and shallow, for quick runs; ``arguments`` still win.
        generator: Its next number seeds the initial weights; torch's own generator is left as it was. None
            draws them from torch's own.

    Raises:
        ConfigurationError: unknown name or argument, or one that the class refuses.
    """
    problems = model_problems(name, arguments)
    if problems:
        raise ConfigurationError("\n".join(problems))
    cls, fixed = MODELS[name]
    wanted = {**fixed, **(_small(name) if small else {}), **arguments}
    takes = inspect.signature(cls).parameters
    channels, height, width = shape
    of_data = {"inputs": channels * height * width, "in_channels": channels, "image_size": height}
    wanted |= {key: value for key, value in of_data.items() if key in takes}
    if "image_size" in takes and height != width:
        raise ConfigurationError(f"{name} needs square images; these have {height} x {width} pixels.")
    if generator is None:
        return cls(classes=classes, **wanted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return cls(classes=classes, **wanted)
