"""The imitated driver as a whole: an object with the names of the vendor's module."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, SnnkitError, unknown_key_message

from ..xylo.configuration.conversion import specification_from_configuration
from .board import Bench, device_namespace
from .configurations import configuration_classes
from .core import Alter, Core
from .dialect import DIALECTS, Dialect
from .events import event_classes
from .faults import FaultCounter, Faults
from .graph import graph_namespace
from .states import state_sink_class
from .strict import Namespace, Struct, enumeration, real

__all__ = ["FakeSamna"]

INPUT_SOURCES = ("SpikeEvents", "PdmEvents", "AdcEvents", "AnalogMicrophone", "DigitalMicrophone")


class FakeSamna(Namespace):
    """The driver with imitated boards plugged in; give it to ``connect("samna:", driver=...)``.

    Args:
        boards: chips, such as ``["imu", "a3"]``; the same one may be there more than once.
        faults: what goes wrong: for all boards, or one for each.
        alter: changes the program between what was written and what the chip runs; it is not seen in
            the configuration that the chip reports.
        ambient: ``(time, Nin)`` event counts that the chip receives in real time, over and over.
        version: of the driver.
    """

    def __init__(
        self,
        boards: Sequence[str] = ("imu",),
        *,
        faults: Faults | Sequence[Faults] = Faults(),  # noqa: B008 - frozen
        alter: Alter | None = None,
        ambient: Any = None,
        version: str = "0.48.6",
    ) -> None:
        names = [get_chip(board).name for board in boards]
        for name in names:
            if name not in DIALECTS:
                raise ConfigurationError(unknown_key_message("chip with a board", name, DIALECTS))
        each = [faults] * len(names) if isinstance(faults, Faults) else list(faults)
        if len(each) != len(names):
            raise ConfigurationError(f"{len(names)} boards need as many faults, not {len(each)}.")
        members: dict[str, Any] = {"__version__": version, "graph": graph_namespace()}
        chips = {name: _chip_members(dialect) for name, dialect in DIALECTS.items()}
        bench = Bench()
        surroundings = None if ambient is None else np.asarray(ambient, np.uint8)
        for name, board_faults in zip(names, each, strict=True):
            counter = FaultCounter(board_faults)
            make = _core_maker(DIALECTS[name], chips[name], counter, alter, surroundings)
            bench.plug(DIALECTS[name], counter, make)
            if board_faults.rejects:
                chips[name]["validate_configuration"] = partial(_rejected, board_faults.rejects)
        members["device"] = device_namespace(bench)
        for name, dialect in DIALECTS.items():
            channels = enumeration(
                "MeasurementChannels", dialect.channels, f"samna.{dialect.channels_module}"
            )
            if dialect.channels_module == dialect.module:
                chips[name]["MeasurementChannels"] = channels
            else:
                members[dialect.channels_module] = Namespace(
                    f"samna.{dialect.channels_module}", {"MeasurementChannels": channels}
                )
            members[dialect.module] = _chip_namespace(dialect, chips[name])
        super().__init__("samna", members)


def _chip_members(dialect: Dialect) -> dict[str, Any]:
    module = f"samna.{dialect.module}"
    enums: dict[str, type[Enum]] = {"operation_mode": enumeration("OperationMode", dialect.modes, module)}
    members: dict[str, Any] = {"OperationMode": enums["operation_mode"]}
    if dialect.chip == "a3":
        sources = {name: number for number, name in enumerate(INPUT_SOURCES)}
        enums["input_source"] = enumeration("InputSource", sources, module)
        members["InputSource"] = enums["input_source"]
        clocks = {"main_clock_frequency": (real, 50e6), "pdm_clock_frequency": (real, 1.5625e6)}
        members["XyloAudio3TestBoardDefaultConfig"] = type(
            "XyloAudio3TestBoardDefaultConfig", (Struct,), {"fields": clocks, "__module__": module}
        )
    members["configuration"] = configuration_classes(dialect, enums)
    members["event"] = event_classes(dialect)
    members["validate_configuration"] = partial(_validate, members["configuration"]["XyloConfiguration"])
    if dialect.state_sink:
        members["NeuronStateSinkNode"] = state_sink_class(members["configuration"]["XyloConfiguration"])
    return members


def _chip_namespace(dialect: Dialect, members: Mapping[str, Any]) -> Namespace:
    name = f"samna.{dialect.module}"
    inner = {part: Namespace(f"{name}.{part}", members[part]) for part in ("configuration", "event")}
    return Namespace(name, {**members, **inner})


def _core_maker(
    dialect: Dialect,
    members: Mapping[str, Any],
    faults: FaultCounter,
    alter: Alter | None,
    ambient: np.ndarray | None,
) -> Callable[[], Core]:
    configuration = members["configuration"]["XyloConfiguration"]
    return lambda: Core(dialect, configuration, members["event"], faults, alter, ambient)


def _validate(kind: type, configuration: Any) -> tuple[bool, str]:
    """Return whether the chip takes a configuration, and why not."""
    if not isinstance(configuration, kind):
        raise TypeError(f"validate_configuration(): incompatible argument {type(configuration).__name__}")
    try:
        violations = specification_from_configuration(configuration).violations()
    except SnnkitError as error:
        return False, str(error)
    return not violations, "\n".join(map(str, violations))


def _rejected(message: str, _configuration: Any) -> tuple[bool, str]:
    return False, message
