"""timm's models for the sweeps, without torchvision.

timm imports torchvision for data loading and for a few types it compares with. The torchvision wheels that
match a torch for CPUs only are not on the package index: the one there is built for CUDA and its library
does not load. No model's forward needs it, so an empty stand-in is imported in its place.

    python -m venv timm-venv
    timm-venv/bin/pip install torch==2.13.0 numpy safetensors pyyaml huggingface_hub pillow
    timm-venv/bin/pip install --no-deps timm==1.0.31 -e .

Models are created on the meta device: no weights are drawn or kept, so that the largest take no memory.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import types
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = [
    "TimmModel",
    "architecture_files",
    "create",
    "example_input",
    "import_timm",
    "index",
    "one_per_file",
]

_NAME = "torchvision"


class _AnyName(type):
    """Classes that have every attribute, each a string: enough for enumerations."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandIn(types.ModuleType):
    """A module that has every name, each a class that nothing is an instance of."""

    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _AnyName(name, (), {})
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != _NAME:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__version__ = "0.0"


def import_timm() -> Any:
    """Return timm, with a stand-in for torchvision if that is not installed."""
    if importlib.util.find_spec(_NAME) is None:
        sys.meta_path.append(_Finder())
    import timm

    return timm


@dataclass(frozen=True)
class TimmModel:
    """One model of timm.

    Args:
        name: Its name in timm.
        file: The architecture file that defines it.
        size: Height and width of its images.
        parameters: Number of parameters.
    """

    name: str
    file: str
    size: int
    parameters: int


def create(name: str, device: str = "meta", **kwargs: Any) -> nn.Module:
    """Return a model in evaluation mode; on the meta device unless another is given."""
    timm = import_timm()
    with torch.device(device):
        return timm.create_model(name, pretrained=False, **kwargs).eval()


def example_input(model: nn.Module, batch: int = 2, device: str = "meta") -> torch.Tensor:
    """Return images of the size that the model is made for, ``(batch, channels, height, width)``."""
    size = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    return torch.empty(batch, *size, device=device)


def architecture_files() -> dict[str, list[str]]:
    """Return the names of all models by the file that defines them."""
    timm = import_timm()
    files: dict[str, list[str]] = {}
    for name in timm.list_models():
        files.setdefault(timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1], []).append(name)
    return files


def described(name: str) -> TimmModel:
    """Return what is known of a model; it is created for that, on the meta device."""
    model = create(name)
    size = example_input(model, 1).shape[-1]
    file = import_timm().model_entrypoint(name).__module__.rsplit(".", 1)[-1]
    return TimmModel(name, file, size, sum(p.numel() for p in model.parameters()))


def index(path: Path) -> list[TimmModel]:
    """Return all models, smallest first in each file; read from ``path`` if it is there, else written to it.

    Making it creates every model once, which takes some minutes.
    """
    if path.exists():
        return [TimmModel(**entry) for entry in json.loads(path.read_text())]
    found = [described(name) for names in architecture_files().values() for name in names]
    found.sort(key=lambda model: (model.file, model.parameters, model.size, model.name))
    path.write_text(json.dumps([asdict(model) for model in found], indent=1))
    return found


def one_per_file(models: Iterable[TimmModel]) -> list[TimmModel]:
    """Return the smallest model of each architecture file."""
    smallest: dict[str, TimmModel] = {}
    for model in models:
        smallest.setdefault(model.file, model)
    return list(smallest.values())
