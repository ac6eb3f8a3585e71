"""Imitated boards and the controller that opens them."""

from collections.abc import Callable, Mapping
from typing import Any

from .core import Core
from .dialect import Dialect
from .faults import FaultCounter
from .graph import SinkNode, SourceNode
from .power import PowerMonitor, StopWatch
from .strict import Namespace, Struct, boolean, integer, real, text

__all__ = ["Bench", "Board", "DeviceInfo", "Maker", "device_namespace"]

Maker = Callable[[], Core]


class DeviceInfo(Struct):
    """One board as the controller lists it."""

    fields = {  # noqa: RUF012
        "device_type_name": (text, ...),
        "serial_number": (text, ""),
        "usb_bus_number": (integer(), 0),
        "usb_device_address": (integer(), 0),
    }


class FirmwareVersions:
    """Versions as text."""

    def __init__(self, fxtree: str, unifirm: str) -> None:
        self.fxtree, self.unifirm = fxtree, unifirm


class Model:
    """The handle of the chip."""

    def __init__(self, board: "Board") -> None:
        self._board = board

    def apply_configuration(self, configuration: Any) -> None:
        """Send a configuration; it takes effect later."""
        self._board._check()
        self._board.core.apply(configuration)

    def get_configuration(self) -> Any:
        """Return the configuration in force."""
        self._board._check()
        return self._board.core.configuration()

    def get_source_node(self) -> SourceNode:
        """Return where events come from."""
        self._board._check()
        return self._board.core.source

    def get_sink_node(self) -> SinkNode:
        """Return where events go to."""
        self._board._check()
        return SinkNode(self._board._accept)


class ImuModel(Model):
    """The handle of a Xylo-IMU."""

    def open_ram_access(self) -> None:
        """Allow reading of the state memory."""
        self._board._check()
        self._board.core.ram_open = True

    def close_ram_access(self) -> None:
        """Forbid it again; power figures are wrong while it is open."""
        self._board._check()
        self._board.core.ram_open = False


class Audio3Model(Model):
    """The handle of a Xylo-Audio 3."""

    def apply_configuration_blocking(self, configuration: Any) -> None:
        """Send a configuration and wait until it is in force."""
        self.apply_configuration(configuration)
        self._board.core.settle()


class IoModule:
    """Clocks and registers of the board."""

    def __init__(self, board: "Board") -> None:
        self._board = board

    def set_main_clk_rate(self, frequency: int) -> None:
        """Set the chip's clock in Hz."""
        self._board._check()
        self._board.main_clock = integer(1, 10**9)("set_main_clk_rate", frequency)

    def set_saer_clk_rate(self, frequency: int) -> None:
        """Set the clock of the event interface in Hz."""
        self._board._check()
        integer(1, 10**9)("set_saer_clk_rate", frequency)

    def set_spi_clk_rate(self, frequency: int) -> None:
        """Set the clock of the serial interface in Hz."""
        self._board._check()
        integer(1, 10**9)("set_spi_clk_rate", frequency)

    def write_config(self, address: int, value: int) -> None:
        """Write a register of the board."""
        self._board._check()
        integer(0, 2**16)("write_config", address)
        integer()("write_config", value)


class Accelerometer:
    """The board's MC3632."""

    def __init__(self, board: "Board") -> None:
        self._board = board

    def setup(self) -> bool:
        """Start it up."""
        self._board._check()
        return True

    def auto_read_enable(self, value: bool) -> None:
        """Let it feed the chip."""
        self._board._check()
        self._board.core.sensor_on = boolean("auto_read_enable", value)

    def set_auto_read_freq(self, frequency: float) -> None:
        """Set its rate in Hz."""
        self._board._check()
        real("set_auto_read_freq", frequency)


class Board:
    """One open board."""

    def __init__(self, info: DeviceInfo, dialect: Dialect, faults: FaultCounter, make: Maker) -> None:
        self.info, self.dialect, self.faults = info, dialect, faults
        self.core = make()
        self.main_clock: int | None = None
        self._make, self._open = make, True
        self._power = PowerMonitor(self)
        self._watch, self._io = StopWatch(self), IoModule(self)
        kind = {"imu": ImuModel, "a3": Audio3Model}.get(dialect.chip, Model)
        self._model = kind(self)

    def _check(self) -> None:
        if not self._open:
            raise RuntimeError("the device is closed")
        if self.core.lost:
            raise RuntimeError("the device does not answer: transfer failed")

    def _accept(self, events: list[Any]) -> None:
        self._check()
        self.core.accept(events)

    def get_firmware_versions(self) -> FirmwareVersions:
        """Return the versions of the board's two programs."""
        self._check()
        return FirmwareVersions(*(self.faults.faults.firmware or self.dialect.firmware))

    def get_stop_watch(self) -> StopWatch:
        """Return the clock of time stamps."""
        self._check()
        return self._watch

    def get_power_monitor(self) -> PowerMonitor:
        """Return the power monitor."""
        self._check()
        return self._power

    def get_io_module(self) -> IoModule:
        """Return clocks and registers."""
        self._check()
        return self._io

    def reset_board_soft(self, default_config: Any = None) -> None:
        """Start the board's logic anew; only a Xylo-IMU forgets its states."""
        self._check()
        frequency = getattr(default_config, "main_clock_frequency", None)
        self.main_clock = self.main_clock if frequency is None else frequency
        if self.dialect.reset == "board" and not self.faults.strikes("stuck_resets"):
            self.core = self._make()


class A2Board(Board):
    """XyloA2TestBoard."""

    def get_xylo_model(self) -> Model:
        """Return the chip's handle."""
        self._check()
        return self._model

    def get_xylo_model_source_node(self) -> SourceNode:
        """Return where the chip's events come from."""
        return self._model.get_source_node()


class ModelBoard(Board):
    """A board whose only model is the chip."""

    def get_model(self) -> Model:
        """Return the chip's handle."""
        self._check()
        return self._model

    def get_model_source_node(self) -> SourceNode:
        """Return where the chip's events come from."""
        return self._model.get_source_node()

    def get_model_sink_node(self) -> SinkNode:
        """Return where the chip's events go to."""
        return self._model.get_sink_node()


class ImuBoard(ModelBoard):
    """XyloImuTestBoard."""

    def enable_manual_input_acceleration(self, value: bool) -> None:
        """Take acceleration data from the host instead of from the sensor."""
        self._check()
        boolean("enable_manual_input_acceleration", value)

    def get_mc3632(self) -> Accelerometer:
        """Return the sensor."""
        self._check()
        return Accelerometer(self)


_KINDS: Mapping[str, type[Board]] = {"a2": A2Board, "imu": ImuBoard, "a3": ModelBoard}


class Bench:
    """The boards that are plugged in, and which of them are open."""

    def __init__(self) -> None:
        self._slots: list[tuple[DeviceInfo, Dialect, FaultCounter, Maker]] = []
        self._open: dict[str, Board] = {}
        self._left: dict[str, Core] = {}

    def plug(self, dialect: Dialect, faults: FaultCounter, make: Maker) -> None:
        """Connect one more board."""
        number = len(self._slots)
        info = DeviceInfo(dialect.board, f"imitation-{number}", 1, number + 1)
        self._slots.append((info, dialect, faults, make))

    def get_all_devices(self) -> list[DeviceInfo]:
        """Return every board that is plugged in."""
        return [info for info, *_ in self._slots]

    def get_unopened_devices(self) -> list[DeviceInfo]:
        """Return the boards that nobody has opened."""
        return [
            info
            for info, _, faults, _ in self._slots
            if info.serial_number not in self._open and not faults.faults.busy
        ]

    def open_device(self, device: Any, defaultConfig: Any = None) -> Board:
        """Open a board by its info, by ``NAME`` (the next free one) or by ``NAME:INDEX``."""
        given = isinstance(device, DeviceInfo)
        info = device if given else self._by_name(text("open_device", device))
        serial = info.serial_number
        if serial in self._open:
            return self._open[serial]
        slot = next((s for s in self._slots if s[0].serial_number == serial), None)
        if slot is None or slot[2].faults.busy:
            raise RuntimeError(f"device {info.device_type_name} cannot be opened: it is in use or not there")
        board = _KINDS[slot[1].chip](info, slot[1], slot[2], self._maker(*slot))
        self._open[serial] = board
        return board

    def _maker(self, info: DeviceInfo, dialect: Dialect, faults: FaultCounter, make: Maker) -> Maker:
        """A re-opened board is at rest, unless its states are stuck."""

        def made() -> Core:
            left = self._left.pop(info.serial_number, None)
            stuck = left is not None and dialect.reset == "reopen" and faults.strikes("stuck_resets")
            return left if stuck and left is not None else make()

        return made

    def _by_name(self, name: str) -> DeviceInfo:
        kind, _, index = name.partition(":")
        same = [info for info in self.get_all_devices() if info.device_type_name == kind]
        if index:
            if not index.isdecimal() or int(index) >= len(same):
                raise RuntimeError(f"there is no device {name}")
            return same[int(index)]
        free = [info for info in self.get_unopened_devices() if info.device_type_name == kind]
        if not free:
            raise RuntimeError(f"there is no free device {name}")
        return free[0]

    def close_device(self, device: Any) -> None:
        """Close a board; its handle is of no use any more."""
        if not isinstance(device, Board):
            raise TypeError(f"close_device(): incompatible argument {type(device).__name__}")
        if not device._open:
            raise RuntimeError("the device is closed already")
        device._open = False
        self._left[device.info.serial_number] = device.core
        device.core.lost = False
        self._open.pop(device.info.serial_number)


def device_namespace(bench: Bench) -> Namespace:
    """Return ``samna.device``."""
    names = ("get_all_devices", "get_unopened_devices", "open_device", "close_device")
    return Namespace("samna.device", {"DeviceInfo": DeviceInfo, **{n: getattr(bench, n) for n in names}})
