"""The session on a board, or on an imitation of one: both speak through the vendor's driver."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from snnkit.utilities.backends import is_older
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..xylo.configuration.conversion import configuration_from_specification
from ..xylo.configuration.objects import XyloConfiguration
from ..xylo.specification.core import Specification
from .answer import Answer, joined, record_names
from .errors import (
    ConfigurationNotApplied,
    ConfigurationRejected,
    DeviceLost,
    FirmwareTooOld,
    ReadoutLost,
    ReadoutTimeout,
    SessionError,
    StateNotReset,
)
from .power import PowerReading
from .progress import counted
from .realtime import IMU_RATE, Heard, collect, prepared
from .runs import run_accelerated, run_single_steps
from .samna_driver import BoardInfo, SamnaBoard, SamnaDriver
from .session import Session
from .states import States, read_states
from .waiting import Waiter

__all__ = ["MODES", "Mode", "SamnaSession"]

Mode = Literal["accelerated", "single-step"]
MODES = {"accelerated": "AcceleratedTime", "single-step": "Manual"}


class SamnaSession(Session):
    """A Xylo board.

    Args:
        uri: what was asked for.
        driver: the vendor's module, wrapped.
        info: the board.
        mode: all steps at once, or one by one with all states read in between.
        read_timeout: seconds without an answer after which the board is given up.
        retries: how often a configuration, a reset, or a run that began at rest is repeated.
        power_frequency: samples per second of the power monitor; the chip's usual rate if left out.
        main_clock: of the chip in Hz; the board's own if left out.
        progress: show a bar for batches; None: in a terminal.

    Raises:
        DeviceBusy: somebody else has the board.
        FirmwareTooOld: its firmware lacks what is needed.
    """

    def __init__(
        self,
        uri: str,
        driver: SamnaDriver,
        info: BoardInfo,
        *,
        mode: Mode = "accelerated",
        read_timeout: float = 5.0,
        retries: int = 1,
        power_frequency: float | None = None,
        main_clock: float | None = None,
        progress: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(uri, info.chip)
        if mode not in MODES:
            raise ConfigurationError(unknown_key_message("mode", str(mode), MODES))
        self._driver, self._info, self._mode = driver, info, mode
        self._patience, self._retries, self._clock = read_timeout, retries, clock
        self._progress, self._main_clock = progress, main_clock
        self._monitored, self._memory_open, self._at_rest = False, False, False
        self._built: dict[tuple[bool, bool, bool], tuple[XyloConfiguration, Any]] = {}
        self._board: SamnaBoard | None = None
        self._repeated = 0
        """Attempts of any kind that failed, since the board was opened."""
        self._open()
        names = self._opened.names
        self._power_frequency = names.power_frequency if power_frequency is None else power_frequency

    # Opening and closing.

    def _open(self) -> None:
        self._board = self._driver.open(self._info)
        try:
            self._require_firmware()
            if self._main_clock is not None:
                self._main_clock = self._board.set_clock(self._main_clock)
        except BaseException:
            self._close()
            raise
        self._waiter = Waiter(self._board, self._patience, self._clock)

    def _require_firmware(self) -> None:
        found, needed = self._opened.firmware(), self._opened.names.minimum_firmware
        if any(is_older(have, need) for have, need in zip(found, needed, strict=True)):
            raise FirmwareTooOld(
                f"{self._info} has firmware fxtree {found[0]}, unifirm {found[1]}; fxtree {needed[0]} and "
                f"unifirm {needed[1]} or newer are needed. Update it with the vendor's tool."
            )

    @property
    def _opened(self) -> SamnaBoard:
        if self._board is None:
            raise DeviceLost(f"{self._info} was lost. Close this session and connect again.")
        return self._board

    def _close(self) -> None:
        board, self._board = self._board, None
        if board is not None:
            try:
                board.close()
            except SessionError:
                return  # a board that is gone cannot be closed, and need not be

    @property
    def main_clock(self) -> float:
        """The chip's clock in Hz."""
        return self.chip.default_clock if self._main_clock is None else self._main_clock

    @property
    def firmware(self) -> tuple[str, str]:
        """Versions fxtree and unifirm of the board."""
        return self._opened.firmware()

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the driver and of the board's firmware."""
        fxtree, unifirm = self.firmware
        return {"samna": self._driver.version, "fxtree": fxtree, "unifirm": unifirm}

    @property
    def read_timeout(self) -> float:
        """Seconds without an answer after which the board is given up."""
        return self._patience

    @read_timeout.setter
    def read_timeout(self, seconds: float) -> None:
        self._patience = seconds
        self._waiter = Waiter(self._opened, seconds, self._clock)

    @property
    def mode(self) -> Mode:
        """Whether all steps are run at once, or one by one."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ConfigurationError(unknown_key_message("mode", str(mode), MODES))
        self._mode, self._monitored, self._built = mode, False, {}
        if self._specification is not None:
            self._apply()

    def reported(self, spec: Specification) -> tuple[str, ...]:
        """Return all records, less what the chip tells in single steps only."""
        names = record_names(spec)
        if self._mode == "accelerated" and self._opened.names.state_sink:
            return tuple(name for name in names if name != "Isyn_out")
        return names

    # Configuration.

    def _configure(self, spec: Specification) -> int:
        before = self._repeated
        self._spec, self._built = spec, {}
        self._monitored = self._memory_open = False
        self._apply()
        self._reset()
        return self._repeated - before

    def _ours(self, *, cleared: bool = False) -> XyloConfiguration:
        config: Any = configuration_from_specification(self._spec)
        hidden, both = self._spec.n_hidden, self._spec.n_hidden + self._spec.n_out
        if self._monitored:
            sizes = {"v_mem": both, "i_syn": both, "spike": hidden}
            if self._opened.names.state_sink:  # its lists hold hidden neurons only
                sizes = dict.fromkeys(sizes, hidden)
            if self.chip.hidden_synapses == 2:
                sizes["i_syn2"] = hidden
            for state, size in sizes.items():
                ids = list(range(size)) if self.chip.name == "a3" else (0, size)
                setattr(config.debug, f"monitor_neuron_{state}", ids)
        if self._opened.names.ram_access == "flag":
            config.debug.ram_access_enable = self._memory_open
        if cleared:
            config.clear_network_state = True
        return config

    def _apply(self, *, cleared: bool = False) -> None:
        """Write the configuration, wait until it is in force, and compare what the chip holds."""
        self._write(*self._configuration(cleared))

    def _write(self, ours: XyloConfiguration, written: Any) -> None:
        board = self._opened
        for _ in range(self._retries + 1):
            board.apply(written)
            self._synchronise()
            found = board.differences(ours, written)
            if not found:
                return
            self._repeated += 1
        listed = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
        raise ConfigurationNotApplied(
            f"After {self._retries + 1} attempts the chip does not hold what was written: {listed}. Power "
            "the board off and on, and connect again."
        )

    def _configuration(self, cleared: bool) -> tuple[XyloConfiguration, Any]:
        """Return our configuration and the driver's, which has accepted it; each is built once."""
        key = (self._monitored, self._memory_open, cleared)
        if key not in self._built:
            board, ours = self._opened, self._ours(cleared=cleared)
            source = "SpikeEvents" if self.chip.name == "a3" else None
            written = board.configuration(ours, MODES[self._mode], source)
            accepted, message = board.validate(written)
            if not accepted:
                raise ConfigurationRejected(
                    f"The driver does not take this program for {self.chip.title}: {message}"
                )
            self._built[key] = ours, written
        return self._built[key]

    def _synchronise(self) -> None:
        """Wait until what was applied is in force: a register is read behind it."""
        board = self._opened
        board.clear()
        board.write([board.event("ReadRegisterValue", address=0)])
        self._waiter.until(lambda events: board.registers_in(events) > 0, "the configuration to take effect")

    def _set_memory(self, is_open: bool) -> None:
        """Open the state memory, or shut it: it draws power, so it is shut while power is measured."""
        if is_open == self._memory_open:
            return
        self._memory_open = is_open
        if self._opened.names.ram_access == "flag":
            self._apply()
        else:
            self._opened.open_ram(is_open)

    def _states(self) -> States:
        self._set_memory(True)
        return read_states(self._opened, self._waiter, self._spec)

    # Resets.

    def _reset(self) -> int:
        before = self._repeated
        for _ in range(self._retries + 1):
            self._clear_states()
            left = self._states()
            if left.is_rest:
                self._at_rest = True
                return self._repeated - before
            self._repeated += 1
        raise StateNotReset(
            f"After {self._retries + 1} resets states are not zero: {left.described}. Power the board off "
            "and on, and connect again."
        )

    def _clear_states(self) -> None:
        """Do what clears the states of this chip."""
        board = self._opened
        if board.names.reset == "flag":
            self._apply(cleared=True)
        elif board.names.reset == "board":
            board.soft_reset()
            self._memory_open = False
        else:  # a reset does not clear this chip: it is opened anew
            self._close()
            self._open()
            self._memory_open = True
        self._apply()

    # Real time.

    def listen(
        self,
        steps: int,
        *,
        dt: float | None = None,
        hibernation: bool = False,
        interface: Mapping[str, Any] | None = None,
        power: bool = False,
    ) -> Heard:
        """Let the chip run on its own sensor, and return the events of ``steps`` time steps.

        It takes ``steps`` times the time step. Afterwards the chip is back in the session's mode, and its
        states are not known: the next single raster needs a :meth:`reset`.

        Args:
            steps: how many.
            dt: time step in seconds; the program's if left out. Xylo-IMU always has 5 ms.
            hibernation: let the chip sleep where nothing happens.
            interface: attributes of Xylo-IMU's input interface, under the driver's names.
            power: measure power meanwhile.

        ConfigurationError says if the chip's front end is not offered (Xylo-Audio 2).
        """
        spec = self._ready()
        self._condition, self._at_rest = "unknown", False
        board, ours = self._opened, self._ours()
        seconds = prepared(ours, self.chip.name, dt or spec.dt, self.main_clock, hibernation)
        source = "DigitalMicrophone" if self.chip.name == "a3" else None
        written = board.configuration(ours, "RealTime", source, interface)
        meter = board.start_power(self._power_frequency) if power else None
        try:
            board.start_sensor(IMU_RATE)
            self._write(ours, written)
            began = self._clock()
            output, vmem_out, first = collect(board, self._waiter, steps)
            elapsed = self._clock() - began
        finally:
            watts = self._stopped(meter)
        self._apply()
        reading = None if meter is None else _reading(watts, meter[1], elapsed)
        return Heard(output, vmem_out, first, seconds, reading)

    # Running.

    def _run(self, counts: np.ndarray, wanted: tuple[str, ...], *, from_rest: bool, power: bool) -> Answer:
        before = self._repeated
        if self._monitored != bool(wanted) and self._mode == "accelerated":
            self._monitored = bool(wanted)
            self._apply()
        answers = [
            self._sample(counts[index], wanted, from_rest, power)
            for index in counted(len(counts), f"Running on {self._info.name}", self._progress)
        ]
        return replace(joined(answers), retries=self._repeated - before)

    def _sample(self, counts: np.ndarray, wanted: tuple[str, ...], from_rest: bool, power: bool) -> Answer:
        """Run one raster; one that began at rest is repeated if readouts are lost."""
        attempt = 0
        while True:
            if from_rest and not self._at_rest:
                self._reset()
            self._at_rest = False
            try:
                return self._attempt(counts, wanted, power)
            except (ReadoutLost, ReadoutTimeout):
                if not from_rest or attempt == self._retries:
                    raise
            attempt += 1
            self._repeated += 1

    def _attempt(self, counts: np.ndarray, wanted: tuple[str, ...], power: bool) -> Answer:
        run = run_accelerated if self._mode == "accelerated" else run_single_steps
        self._set_memory(not power or (self._mode == "single-step" and bool(wanted)))
        meter = self._opened.start_power(self._power_frequency) if power else None
        began = self._clock()
        try:
            ran = run(self._opened, self._waiter, self._spec, counts, wanted)
        finally:
            seconds = self._clock() - began
            watts = self._stopped(meter)
        reading = None if meter is None else _reading(watts, meter[1], seconds)
        return Answer(
            recorded={name: array[None] for name, array in ran.recorded.items()},
            state=self._states().as_core_state(),
            first_steps=(ran.first_step,),
            power=reading,
            reordered=ran.reordered,
        )

    def _stopped(self, meter: tuple[Any, float] | None) -> dict[str, list[float]]:
        """End measuring; a run shorter than a sample is waited for, two samples long at most.

        A board that is gone must not hide why the run failed.
        """
        if meter is None:
            return {}
        buffer, rate = meter
        try:
            watts = self._opened.power_samples(buffer)
            until = self._clock() + min(2 / rate, self._patience)
            while not all(watts.values()) and self._clock() < until:
                time.sleep(0.001)
                for name, more in self._opened.power_samples(buffer).items():
                    watts[name] += more
            self._opened.stop_power()
        except SessionError:
            return {}
        return watts


def _reading(watts: dict[str, list[float]], rate: float, seconds: float) -> PowerReading:
    """Leave out samples that are no power."""
    arrays = {name: np.array(values, float) for name, values in watts.items()}
    usable = {name: values[np.isfinite(values)] for name, values in arrays.items()}
    dropped = sum(len(values) for values in arrays.values()) - sum(len(v) for v in usable.values())
    return PowerReading(usable, rate, dropped, seconds)
