"""Xylo chips: from a network to an integer program, its simulation and its configuration.

Parts are loaded when they are first used: none of them needs the vendor's driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .specification.core import Population, Specification, SpecificationError
from .violation import DRCError, DRCWarning, MappingError, Violation

if TYPE_CHECKING:
    from .archive.xylo_file import XyloFile, load_deployment, save_deployment
    from .configuration.objects import XyloConfiguration
    from .configuration.rockpool import (
        config_from_specification,
        load_config,
        save_config,
        validate_configuration,
    )
    from .cycles import CycleCount, cycles_model, est_clock_freq
    from .deployment.deploy import Deployment, deploy
    from .deployment.quantising import quantise
    from .deployment.report import DeploymentReport, LayerReport
    from .exact.conversion import chip_exact
    from .exact.module import ChipExact
    from .finetuning import finetune
    from .mapping.check import CheckReport, check
    from .mapping.lowering import lower
    from .mapping.mapped_network import MappedNetwork
    from .orbit.result import OrbitReport
    from .orbit.settings import OrbitSettings
    from .power import InferenceCost, PowerEstimate, estimate_power, inference_cost
    from .simulator.xylo_sim import XyloSim
    from .validation.validate import Validation, validate
    from .validation.vectors import VectorCheck, check_vectors, make_vectors

_CHIP_FACES = ("syns61201", "syns61300", "syns63300", "syns65302")

# Name -> module that holds it.
_LAZY = {
    "CheckReport": "mapping.check",
    "ChipExact": "exact.module",
    "InferenceCost": "power",
    "Validation": "validation.validate",
    "VectorCheck": "validation.vectors",
    "check": "mapping.check",
    "chip_exact": "exact.conversion",
    "check_vectors": "validation.vectors",
    "make_vectors": "validation.vectors",
    "validate": "validation.validate",
    "CycleCount": "cycles",
    "Deployment": "deployment.deploy",
    "DeploymentReport": "deployment.report",
    "LayerReport": "deployment.report",
    "MappedNetwork": "mapping.mapped_network",
    "OrbitReport": "orbit.result",
    "OrbitSettings": "orbit.settings",
    "PowerEstimate": "power",
    "XyloConfiguration": "configuration.objects",
    "XyloFile": "archive.xylo_file",
    "XyloSim": "simulator.xylo_sim",
    "config_from_specification": "configuration.rockpool",
    "cycles_model": "cycles",
    "deploy": "deployment.deploy",
    "est_clock_freq": "cycles",
    "estimate_power": "power",
    "finetune": "finetuning",
    "inference_cost": "power",
    "load_config": "configuration.rockpool",
    "load_deployment": "archive.xylo_file",
    "lower": "mapping.lowering",
    "quantise": "deployment.quantising",
    "save_config": "configuration.rockpool",
    "save_deployment": "archive.xylo_file",
    "validate_configuration": "configuration.rockpool",
}

__all__ = [
    "CheckReport",
    "ChipExact",
    "CycleCount",
    "DRCError",
    "DRCWarning",
    "Deployment",
    "DeploymentReport",
    "InferenceCost",
    "LayerReport",
    "MappedNetwork",
    "MappingError",
    "OrbitReport",
    "OrbitSettings",
    "Population",
    "PowerEstimate",
    "Specification",
    "SpecificationError",
    "Validation",
    "VectorCheck",
    "Violation",
    "XyloConfiguration",
    "XyloFile",
    "XyloSim",
    "check",
    "check_vectors",
    "chip_exact",
    "config_from_specification",
    "cycles_model",
    "deploy",
    "est_clock_freq",
    "estimate_power",
    "finetune",
    "inference_cost",
    "load_config",
    "load_deployment",
    "lower",
    "make_vectors",
    "quantise",
    "save_config",
    "save_deployment",
    "syns61201",
    "syns61300",
    "syns63300",
    "syns65302",
    "validate",
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
