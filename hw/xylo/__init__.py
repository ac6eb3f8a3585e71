"""Xylo chips: from a network to an integer program, its simulation and its configuration.

Parts are loaded when they are first used: none of them needs the vendor's driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# `check` is a module too: imported here, its name means the function whoever comes first.
from .check import CheckReport, check
from .specification import Population, Specification, SpecificationError
from .violation import DRCError, DRCWarning, MappingError, Violation

if TYPE_CHECKING:
    from .configuration import XyloConfiguration
    from .cycles import CycleCount, cycles_model, est_clock_freq
    from .deployment import Deployment, deploy
    from .deployment_report import DeploymentReport, LayerReport
    from .lowering import lower
    from .mapped_network import MappedNetwork
    from .power import PowerEstimate, estimate_power
    from .quantising import quantise
    from .rockpool_config import config_from_specification, load_config, save_config, validate_configuration
    from .simulator import XyloSim

_CHIP_FACES = ("syns61201", "syns61300", "syns63300", "syns65302")

# Name -> module that holds it.
_LAZY = {
    "CycleCount": "cycles",
    "Deployment": "deployment",
    "DeploymentReport": "deployment_report",
    "LayerReport": "deployment_report",
    "MappedNetwork": "mapped_network",
    "PowerEstimate": "power",
    "XyloConfiguration": "configuration",
    "XyloSim": "simulator",
    "config_from_specification": "rockpool_config",
    "cycles_model": "cycles",
    "deploy": "deployment",
    "est_clock_freq": "cycles",
    "estimate_power": "power",
    "load_config": "rockpool_config",
    "lower": "lowering",
    "quantise": "quantising",
    "save_config": "rockpool_config",
    "validate_configuration": "rockpool_config",
}

__all__ = [
    "CheckReport",
    "CycleCount",
    "DRCError",
    "DRCWarning",
    "Deployment",
    "DeploymentReport",
    "LayerReport",
    "MappedNetwork",
    "MappingError",
    "Population",
    "PowerEstimate",
    "Specification",
    "SpecificationError",
    "Violation",
    "XyloConfiguration",
    "XyloSim",
    "check",
    "config_from_specification",
    "cycles_model",
    "deploy",
    "est_clock_freq",
    "estimate_power",
    "load_config",
    "lower",
    "quantise",
    "save_config",
    "syns61201",
    "syns61300",
    "syns63300",
    "syns65302",
    "validate_configuration",
]


def __getattr__(name: str) -> Any:
    if name in _CHIP_FACES:
        return import_module(f"{__name__}.{name}")
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
