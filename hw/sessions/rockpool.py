"""Rockpool's classes for boards, with its names and call signatures, on top of sessions."""

from typing import Any, ClassVar

import numpy as np

from snnkit.utilities.chips import CHIPS
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..xylo.configuration.conversion import specification_from_configuration
from .connect import boards, connect
from .realtime import NO_ANALOG_FRONT_END
from .samna_driver import BoardInfo
from .samna_session import SamnaSession
from .session import Session

__all__ = [
    "XyloAudio2MonitorBase",
    "XyloIMUMonitorBase",
    "XyloMonitorBase",
    "XyloSamnaBase",
    "find_xylo_hdks",
]

_OUTPUT_RECORD = {"Spike": None, "Vmem": "Vmem_out", "Isyn": "Isyn_out"}


def find_xylo_hdks(driver: Any = None) -> tuple[list[BoardInfo], list[str], list[str]]:
    """Return the boards that are plugged in, the modules that support them, and their part numbers.

    Args:
        driver: the vendor's module; imported if left out.
    """
    found = boards(driver)
    parts = [board.chip.part.lower() for board in found]
    return found, [f"snnkit.hw.xylo.{part}" for part in parts], parts


class _OnBoard:
    """What the classes share: a session, a configuration on it, and an output mode."""

    chip: ClassVar[str] = "a2"

    def __init__(
        self, device: Any, config: Any, dt: float, output_mode: str, options: dict[str, Any]
    ) -> None:
        if output_mode not in _OUTPUT_RECORD:
            raise ConfigurationError(unknown_key_message("output_mode", str(output_mode), _OUTPUT_RECORD))
        self._output_mode, self._dt = output_mode, dt
        self._session = device if isinstance(device, Session) else connect(*_address(device), **options)
        if self._session.chip.name != self.chip:
            title, other = CHIPS[self.chip].title, self._session.chip.title
            self._session.close()
            raise ConfigurationError(f"This class is for {title}, the device is {other}.")
        self._config: Any = None
        if config is not None:
            self.config = config

    @property
    def session(self) -> Session:
        """The session that does the work."""
        return self._session

    @property
    def config(self) -> Any:
        """The configuration on the device; assigning one puts it there, with all states at rest."""
        return self._config

    @config.setter
    def config(self, config: Any) -> None:
        self._session.configure(specification_from_configuration(config, self._dt))
        self._config = config

    @property
    def dt(self) -> float:
        """Time step in seconds."""
        return self._dt

    @property
    def output_mode(self) -> str:
        """What the output is."""
        return self._output_mode

    def close(self) -> None:
        """Let go of the device."""
        self._session.close()

    def _measured(self) -> dict[str, np.ndarray]:
        """Return power under Rockpool's names, watts."""
        measured = self._session.power().measured
        return {} if measured is None else {f"{name}_power": v for name, v in measured.channels.items()}


def _address(device: Any) -> tuple[str]:
    """Return what to connect to: a text, or a board that :func:`find_xylo_hdks` found."""
    return (f"samna:{device.name}:{device.index}",) if isinstance(device, BoardInfo) else (str(device),)


class XyloSamnaBase(_OnBoard):
    """A Xylo board under Rockpool's name: accelerated time, one raster a call.

    Args:
        device: a board of :func:`find_xylo_hdks`, a text for :func:`snnkit.hw.connect`, or a session.
        config: chip configuration, ours or the vendor's object.
        dt: time step in seconds.
        output_mode: ``"Spike"``, ``"Vmem"`` or ``"Isyn"``.
        power_frequency: samples per second of the power monitor.
    """

    def __init__(
        self,
        device: Any,
        config: Any = None,
        dt: float = 1e-3,
        output_mode: str = "Spike",
        power_frequency: float | None = None,
    ) -> None:
        super().__init__(device, config, dt, output_mode, {"power_frequency": power_frequency})

    def evolve(
        self,
        input: Any,
        record: bool = False,
        record_power: bool = False,
        read_timeout: float | None = None,
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run ``(time, Nin)`` event counts from where the last call ended.

        Args:
            input: the raster.
            record: also return states over time, and ``times`` in seconds.
            record_power: also return watts of every supply, such as ``io_power``.
            read_timeout: seconds without an answer after which the device is given up, from now on.

        Returns:
            ``(output, {}, record)``, as Rockpool's.
        """
        if read_timeout is not None and isinstance(self._session, SamnaSession):
            self._session.read_timeout = read_timeout
        output_record = _OUTPUT_RECORD[self._output_mode]
        wanted: Any = record or (() if output_record is None else (output_record,))
        output, _, recorded = self._session.run(input, wanted, power=record_power)
        if output_record is not None:
            output = recorded[output_record]
        found: dict[str, Any] = {}
        if record:
            found = {**recorded, "times": np.arange(len(output)) * self._dt}
        if record_power:
            found |= self._measured()
        return output, {}, found

    __call__ = evolve

    def _evolve_manual(self, input: Any, record: bool = False) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run step by step, reading all states in between: for debugging."""
        if not isinstance(self._session, SamnaSession):
            return self.evolve(input, record)
        before, self._session.mode = self._session.mode, "single-step"
        try:
            return self.evolve(input, record)
        finally:
            self._session.mode = before

    def reset_state(self) -> "XyloSamnaBase":
        """Put all states to rest; on every chip, in the way that works on it."""
        self._session.reset()
        return self


class _Monitor(_OnBoard):
    """Real time: the input comes from the board's own sensor."""

    def __init__(  # noqa: PLR0917
        self,
        device: Any,
        config: Any,
        dt: float,
        output_mode: str,
        options: dict[str, Any],
        hibernation: bool,
    ) -> None:
        if output_mode == "Isyn":
            raise ConfigurationError("In real time the chip reports events and membrane states only.")
        super().__init__(device, config, dt, output_mode, options)
        if not isinstance(self._session, SamnaSession):
            raise ConfigurationError(f"Real time needs a board; {self._session.uri} has no sensor.")
        self._hibernation = hibernation
        self._interface: dict[str, Any] = {}

    def evolve(
        self, input_data: Any, record: bool = False, record_power: bool = False
    ) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
        """Listen for as many steps as ``input_data`` has rows; its content does not matter.

        Raises:
            ValueError: states cannot be recorded in real time.
        """
        if record:
            raise ConfigurationError("States cannot be recorded in real time: run a raster with XyloSamna.")
        heard = self._session.listen(
            len(input_data), dt=self._dt, hibernation=self._hibernation,
            interface=self._interface, power=record_power,
        )  # fmt: skip
        found: dict[str, Any] = {}
        if heard.power is not None:
            found = {f"{name}_power": values for name, values in heard.power.channels.items()}
        return heard.output if self._output_mode == "Spike" else heard.vmem_out, {}, found

    __call__ = evolve


class XyloMonitorBase(_Monitor):
    """A Xylo-Audio board that listens to its microphone, under Rockpool's name.

    Args:
        device: as for XyloSamna.
        config: chip configuration.
        output_mode: ``"Spike"`` or ``"Vmem"``.
        dt: time step in seconds.
        main_clk_rate: main clock in MHz.
        hibernation_mode: let the chip sleep where nothing happens.
        power_frequency: samples per second of the power monitor.
        dn_active: divisive normalisation of the microphone path; the board's default, True, is kept.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's order
        self,
        device: Any,
        config: Any = None,
        output_mode: str = "Spike",
        dt: float = 1e-3,
        main_clk_rate: float = 50.0,
        hibernation_mode: bool = False,
        power_frequency: float = 100.0,
        dn_active: bool = True,
    ) -> None:
        if not dn_active:
            raise ConfigurationError("Switching divisive normalisation off is not offered.")
        options = {"main_clock": main_clk_rate * 1e6, "power_frequency": power_frequency}
        super().__init__(device, config, dt, output_mode, options, hibernation_mode)


class XyloAudio2MonitorBase:
    """Real time on Xylo-Audio 2, which is not offered: its analog front end must be calibrated first.

    The signature is Rockpool's; making one raises ConfigurationError with what to do instead.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's order
        self,
        device: Any,
        config: Any = None,
        afe_config: Any = None,
        dt: float = 1e-3,
        output_mode: str = "Spike",
        amplify_level: str = "low",
        change_count: Any = None,
        main_clk_rate: float = 50e6,
        hibernation_mode: bool = False,
        divisive_norm: bool = False,
        divisive_norm_params: Any = None,
        calibration_params: Any = None,
        read_register: bool = False,
        power_frequency: float = 5.0,
    ) -> None:
        raise ConfigurationError(NO_ANALOG_FRONT_END)


class XyloIMUMonitorBase(_Monitor):
    """A Xylo-IMU board that listens to its motion sensor at 200 Hz, under Rockpool's name.

    Args:
        device: as for XyloSamna.
        config: chip configuration.
        output_mode: ``"Spike"`` or ``"Vmem"``.
        prerecorded_imu_input: feeding recorded motion is not offered: encode it and run the raster.
        main_clk_rate: main clock in MHz.
        hibernation_mode: let the chip sleep where nothing happens.
        interface_params: attributes of the input interface, under the driver's names.
        power_frequency: samples per second of the power monitor.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's order
        self,
        device: Any,
        config: Any = None,
        output_mode: str = "Spike",
        prerecorded_imu_input: bool = False,
        main_clk_rate: float = 50.0,
        hibernation_mode: bool = False,
        interface_params: dict[str, Any] | None = None,
        power_frequency: float = 20.0,
    ) -> None:
        if prerecorded_imu_input:
            raise ConfigurationError(
                "Feeding recorded motion to the board is not offered: encode it, and run it with XyloSamna."
            )
        options = {"main_clock": main_clk_rate * 1e6, "power_frequency": power_frequency}
        super().__init__(device, config, 5e-3, output_mode, options, hibernation_mode)
        self._interface = dict(interface_params or {})
