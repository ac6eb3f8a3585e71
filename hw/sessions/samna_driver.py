"""Every call of the vendor's driver stands here; the driver itself is an argument, and never imported here.

What differs between the chips is data in :mod:`.samna_names`. What is documented but could not be tried on
a board stands in the hardware guide.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.utilities.chips import Chip, get_chip

from ..xylo.configuration.objects import XyloConfiguration
from .errors import DeviceBusy, DeviceLost, DriverMismatch, SessionError
from .samna_names import NAMES, SamnaNames
from .vendor_objects import object_differences, write_object

__all__ = ["BoardInfo", "Readout", "SamnaBoard", "SamnaDriver"]


_READS = {
    "Vmem": ("ReadMembranePotential", "MembranePotential", "value"),
    "Isyn": ("ReadSynapticCurrent", "SynapticCurrent", "value"),
    "Isyn2": ("ReadHiddenSynapticCurrent2", "HiddenSynapticCurrent2", "value"),
    "Spikes": ("ReadHiddenSpikeCount", "HiddenSpikeCount", "count"),
}
"""State -> event that reads one neuron, event that answers, and its attribute."""

_SINK_METHODS = {
    "Vmem": "get_reservoir_v_mem",
    "Isyn": "get_reservoir_i_syn",
    "Isyn2": "get_reservoir_i_syn2",
    "Spikes": "get_reservoir_spike",
    "Vmem_out": "get_output_v_mem",
}


@dataclass(frozen=True)
class BoardInfo:
    """A board that is plugged in: its chip, its place among its like, and the driver's own description."""

    chip: Chip
    name: str
    index: int
    free: bool
    handle: Any

    def __str__(self) -> str:
        return f"{self.name}:{self.index} ({self.chip.title}{'' if self.free else ', in use'})"


@dataclass(frozen=True)
class Readout:
    """What the chip tells of one time step; states are empty unless they are monitored."""

    step: int
    output_spikes: Sequence[int]
    output_vmem: Sequence[int]
    hidden_spikes: Sequence[int]
    vmem: Sequence[int]
    isyn: Sequence[int]
    isyn2: Sequence[int]


@contextmanager
def _calling(what: str) -> Iterator[None]:
    """Turn the driver's exceptions into ours."""
    try:
        yield
    except SessionError:
        raise
    except (AttributeError, TypeError) as error:
        raise DriverMismatch(
            f"This samna cannot {what}: {error}. This release was written for samna 0.48; "
            "`snnkit doctor` shows which one is installed."
        ) from error
    except (RuntimeError, OSError, ValueError) as error:
        raise DeviceLost(
            f"The board failed to {what}: {error}. Check cable and power, close the session, connect again."
        ) from error


class SamnaDriver:
    """The driver's module, with the calls that concern no single board."""

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def version(self) -> str:
        """The driver's version, as far as it tells."""
        return str(getattr(self.module, "__version__", "unknown"))

    def boards(self) -> list[BoardInfo]:
        """Return all Xylo boards that are plugged in."""
        chips = {chip.board: chip for chip in map(get_chip, NAMES)}
        with _calling("list the boards"):
            unopened = [str(info) for info in self.module.device.get_unopened_devices()]
            found: list[BoardInfo] = []
            for info in self.module.device.get_all_devices():
                name = info.device_type_name
                if name not in chips:
                    continue
                free = str(info) in unopened
                if free:
                    unopened.remove(str(info))
                index = sum(board.name == name for board in found)
                found.append(BoardInfo(chips[name], name, index, free, info))
        return found

    def open(self, info: BoardInfo) -> "SamnaBoard":
        """Open a board.

        Raises:
            DeviceBusy: somebody else has it.
        """
        try:
            device = self.module.device.open_device(info.handle)
        except RuntimeError as error:
            raise DeviceBusy(
                f"{info} cannot be opened: {error}. A board opens once per machine: end the other program, "
                "notebook or session that holds it."
            ) from error
        return SamnaBoard(self.module, device, NAMES[info.chip.name])


class SamnaBoard:
    """One open board."""

    def __init__(self, module: Any, device: Any, names: SamnaNames) -> None:
        self.names = names
        self._samna, self._device = module, device
        self._part = getattr(module, str(get_chip(names.chip).samna_module))
        self.attach()

    def attach(self) -> None:
        """Connect to the chip's events; to be called again after the board was reset."""
        with _calling("connect to its events"):
            self._model = getattr(self._device, self.names.model)()
            self._buffer = self._samna.graph.sink_from(self._model.get_source_node())
            self._writer = self._samna.graph.source_to(self._model.get_sink_node())
            if self.names.state_sink:
                self._states = self._part.NeuronStateSinkNode()
                self._graph = self._samna.graph.EventFilterGraph()  # dies when it is not kept
                self._graph.sequential([self._model.get_source_node(), self._states])
                self._graph.start()

    def close(self) -> None:
        """Give the board back to the machine."""
        with _calling("close"):
            self._samna.device.close_device(self._device)

    def firmware(self) -> tuple[str, str]:
        """Return the versions fxtree and unifirm; a board that is gone raises DeviceLost."""
        with _calling("tell its firmware"):
            versions = self._device.get_firmware_versions()
            return str(versions.fxtree), str(versions.unifirm)

    def soft_reset(self, main_clock: float | None = None) -> None:
        """Start the board's logic anew, on a Xylo-Audio 3 with another clock in Hz."""
        with _calling("reset"):
            if main_clock is None:
                self._device.reset_board_soft()
            else:
                config = self._part.XyloAudio3TestBoardDefaultConfig()
                config.main_clock_frequency = main_clock
                self._device.reset_board_soft(config)
        self.attach()

    def set_clock(self, hertz: float) -> float:
        """Set the chip's main clock; return the frequency that the board can really make."""
        if self.names.chip == "a3":
            self.soft_reset(hertz)
            return hertz
        wait = max(0, int(np.ceil(round(100e6 / hertz) / 2 - 1)))
        with _calling("set its clock"):
            self._device.get_io_module().set_main_clk_rate(int(hertz))
        return 100e6 / (2 * (wait + 1))

    # Configurations.

    def configuration(
        self,
        ours: XyloConfiguration,
        mode: str,
        source: str | None = None,
        interface: Mapping[str, Any] | None = None,
    ) -> Any:
        """Make the driver's configuration object, attribute by attribute, from ours."""
        with _calling("build a configuration"):
            made = self._part.configuration.XyloConfiguration()
            write_object(made, ours, self._made_of)
            made.operation_mode = getattr(self._part.OperationMode, mode)
            if source is not None:
                made.input_source = getattr(self._part.InputSource, source)
            for name, value in (interface or {}).items():
                setattr(made.input_interface, name, value)
        return made

    def _made_of(self, name: str, *values: int) -> Any:
        """Make a part of a configuration: ``HiddenNeuron``, ``OutputNeuron`` or ``NeuronRange``."""
        kind = self.names.neuron_class if name == "HiddenNeuron" else name
        return getattr(self._part.configuration, kind)(*values)

    def validate(self, configuration: Any) -> tuple[bool, str]:
        """Return whether the driver takes a configuration, and what it says against it."""
        with _calling("validate a configuration"):
            ok, message = self._part.validate_configuration(configuration)
            return bool(ok), str(message)

    def apply(self, configuration: Any) -> None:
        """Send a configuration; it takes effect later, see :meth:`ask_register`."""
        with _calling("take a configuration"):
            self._model.apply_configuration(configuration)
            if self.names.state_sink:
                self._states.set_configuration(configuration)

    def differences(self, ours: XyloConfiguration, written: Any) -> list[str]:
        """Return where the configuration in force is not the written one."""
        with _calling("read its configuration back"):
            return list(object_differences(ours, written, self._model.get_configuration()))

    # Events.

    def write(self, events: list[Any]) -> None:
        """Send events to the chip."""
        with _calling("take events"):
            self._writer.write(events)

    def clear(self) -> None:
        """Forget what came from the chip so far."""
        with _calling("give its events"):
            self._buffer.clear_events()
            if self.names.state_sink:
                self._states.reset()

    def received(self, milliseconds: int) -> list[Any]:
        """Return what came from the chip, waiting as long for something."""
        with _calling("give its events"):
            return list(self._buffer.get_events_blocking(milliseconds))

    def event(self, name: str, **values: int) -> Any:
        """Make an input event."""
        with _calling(f"make a {name} event"):
            return getattr(self._part.event, name)(**values)

    def spikes(self, counts: np.ndarray, first: int) -> list[Any]:
        """Return one event for each count of ``(time, Nin)``, by step, from ``first`` on.

        Equal events are one object: the driver copies what is written.
        """
        make, step_name = self._part.event.Spike, self.names.step
        steps, channels = np.nonzero(counts)
        with _calling("make spikes"):
            events: list[Any] = []
            for step, channel in zip(steps.tolist(), channels.tolist(), strict=True):
                event = make(**{"neuron_id": channel, step_name: first + step})
                events += [event] * int(counts[step, channel])
            return events

    def end_of_run(self, last: int) -> list[Any]:
        """Return what makes the chip process all steps up to ``last``."""
        if self.names.triggered:
            return [self.event("TriggerProcessing", target_timestep=last + 1)]
        wiped = [self.event("WriteRegisterValue", address=a, data=0) for a in self.names.registers]
        return [self.event("Spike", **{"neuron_id": 0, self.names.step: last + 1}), *wiped]

    def readouts(self, events: Sequence[Any]) -> list[Readout]:
        """Pick the readouts among events."""
        with _calling("read its readouts"):
            kind = self._part.event.Readout
            return [self._readout(event) for event in events if isinstance(event, kind)]

    def _readout(self, event: Any) -> Readout:
        states: list[Sequence[int]] = [(), (), (), ()]
        if not self.names.state_sink:
            second = event.neuron_i_syn2s if self.names.chip == "a3" else ()
            states = [event.hidden_spikes, event.neuron_v_mems, event.neuron_i_syns, second]
        return Readout(
            int(getattr(event, self.names.step)), event.output_spikes, event.output_v_mems, *map(list, states)
        )

    def sink_states(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what the state sink collected, ``(time, neurons)``."""
        with _calling("give its states"):
            found = {name: getattr(self._states, _SINK_METHODS[name])() for name in names}
        return {name: np.array(rows, np.int64).T for name, rows in found.items()}

    def registers_in(self, events: Sequence[Any]) -> int:
        """Return how many of the events answer a register read."""
        return sum(isinstance(event, self._part.event.RegisterValue) for event in events)

    # States, neuron by neuron.

    def open_ram(self, is_open: bool) -> None:
        """Allow or forbid reading of the state memory, where the handle does that."""
        if self.names.ram_access == "method":
            with _calling("open its memory"):
                (self._model.open_ram_access if is_open else self._model.close_ram_access)()

    def state_requests(self, name: str, count: int) -> list[Any]:
        """Return the events that read state ``name`` of ``count`` neurons, outputs behind hidden."""
        if self.names.memory:
            base = self.names.memory[name]
            # The first word of a series is junk; it is read twice.
            return [self.event("ReadMemoryValue", address=base + max(i, 0)) for i in range(-1, count)]
        return [self.event(_READS[name][0], neuron_id=i) for i in range(count)]

    def states_in(self, name: str, events: Sequence[Any]) -> dict[int, int]:
        """Return neuron -> state from the answers to :meth:`state_requests`."""
        with _calling("read its states"):
            if self.names.memory:
                base, kind = self.names.memory[name], self._part.event.MemoryValue
                return {e.address - base: _signed(e.data) for e in events if isinstance(e, kind)}
            _, answer, attribute = _READS[name]
            kind = getattr(self._part.event, answer)
            return {e.neuron_id: int(getattr(e, attribute)) for e in events if isinstance(e, kind)}

    # Sensor and power.

    def start_sensor(self, hertz: float) -> None:
        """Let the board's motion sensor feed the chip, where there is one."""
        if self.names.chip == "imu":
            with _calling("start its motion sensor"):
                self._device.enable_manual_input_acceleration(False)
                sensor = self._device.get_mc3632()
                sensor.setup()
                sensor.set_auto_read_freq(hertz)
                sensor.auto_read_enable(True)

    def start_power(self, hertz: float) -> tuple[Any, float]:
        """Begin to measure; return the buffer of samples and the rate that the board really takes."""
        with _calling("measure power"):
            monitor = self._device.get_power_monitor()
            buffer = self._samna.graph.sink_from(monitor.get_source_node())
            watch = self._device.get_stop_watch()
            watch.set_enable_value(True)
            watch.start()
            if monitor.is_auto_power_measurement_active():
                monitor.stop_auto_power_measurement()
            rate = float(monitor.start_auto_power_measurement(hertz))
            buffer.clear_events()
        return buffer, rate

    def power_samples(self, buffer: Any) -> dict[str, list[float]]:
        """Return the watts that came since the last call, by our names of the supplies."""
        with _calling("measure power"):
            channels = getattr(self._samna, self.names.channels_module).MeasurementChannels
            numbers = {int(getattr(channels, name)): ours for ours, name in self.names.channels.items()}
            watts: dict[str, list[float]] = {ours: [] for ours in self.names.channels}
            for sample in buffer.get_events():
                if int(sample.channel) in numbers:
                    watts[numbers[int(sample.channel)]].append(float(sample.value))
        return watts

    def stop_power(self) -> None:
        """End measuring."""
        with _calling("measure power"):
            monitor = self._device.get_power_monitor()
            if monitor.is_auto_power_measurement_active():
                monitor.stop_auto_power_measurement()


def _signed(word: int) -> int:
    """Return a 16-bit word as a signed number."""
    return (int(word) + 2**15) % 2**16 - 2**15
