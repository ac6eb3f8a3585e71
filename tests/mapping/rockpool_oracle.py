"""Rockpool's mappers without the vendor's driver: their packages' own __init__ would import it."""

import importlib
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_MODULES = {"a2": "syns61201", "imu": "syns63300", "a3": "syns65302"}


def rockpool_mapper(chip: str) -> Callable[..., dict[str, Any]]:
    """Return Rockpool's mapper for a chip; skips the test where rockpool is not installed."""
    rockpool = pytest.importorskip("rockpool", reason="compares with Rockpool (the `oracles` extra)")
    base = Path(rockpool.__file__).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("devices", "devices.xylo", *(f"devices.xylo.{module}" for module in _MODULES.values())):
            _bare_package(f"rockpool.{name}", base.joinpath(*name.split(".")))
        neurons = importlib.import_module("rockpool.devices.xylo.syns61201.xylo_graph_modules")
        first = sys.modules["rockpool.devices.xylo.syns61201"]
        for name in [name for name in vars(neurons) if name.startswith("Xylo2")]:
            setattr(first, name, getattr(neurons, name))
        found = importlib.import_module(f"rockpool.devices.xylo.{_MODULES[chip]}.xylo_mapper")
    return found.mapper


def _bare_package(name: str, folder: Path) -> None:
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]  # type: ignore[attr-defined]
        sys.modules[name] = package
