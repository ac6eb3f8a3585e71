"""The session: one way to run a program, whatever runs it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..xylo.power import estimate_power
from ..xylo.simulator.program import compile_program
from ..xylo.simulator.rasters import Raster, read_raster
from ..xylo.simulator.run import CoreState, run_program
from ..xylo.specification.core import Specification
from .answer import OUTPUT, Answer, record_names
from .errors import ConfigurationRejected, NotConfigured, SessionClosed, StateUnknown
from .power import SessionPower

if TYPE_CHECKING:
    from .realtime import Heard

__all__ = ["Session"]

Condition = Literal["rest", "warm", "spent", "unknown"]
"""Where the states stand: at rest, after a run, after the last sample of a batch, after a failure."""


class Session(ABC):
    """A chip, or what stands for one, with a program on it. Made by :func:`snnkit.hw.connect`.

    A raster without batch axis goes on from the state that the last such raster left. In a batch every
    sample begins at rest, and so does what comes after the batch; a board runs its samples one by one.

    Example:
        >>> import numpy as np
        >>> from snnkit.hw import connect
        >>> from snnkit.hw.xylo import Specification
        >>> spec = Specification.create(chip="imu", weights_in=[[90]], weights_out=[[80]], threshold=60)
        >>> with connect("sim:imu") as session:
        ...     _ = session.configure(spec)
        ...     output, state, record = session.run(np.ones((4, 1), int), record=True)
        >>> record["Spikes"][:, 0].tolist()
        [0, 1, 1, 1]
    """

    def __init__(self, uri: str, chip: Chip) -> None:
        self._uri, self._chip = uri, chip
        self._specification: Specification | None = None
        self._condition: Condition = "rest"
        self._closed = False
        self._last: tuple[np.ndarray, Answer] | None = None
        self._retries_done = 0

    # What a backend has to do.

    @abstractmethod
    def _configure(self, spec: Specification) -> int:
        """Put a program that fits the chip onto it, and its states to rest; return what was repeated."""

    @abstractmethod
    def _run(self, counts: np.ndarray, wanted: tuple[str, ...], *, from_rest: bool, power: bool) -> Answer:
        """Run ``(batch, time, Nin)`` counts; every sample from rest, or one sample from where it stands."""

    @abstractmethod
    def _reset(self) -> int:
        """Put states to rest and drop pending events, or raise StateNotReset; return what was repeated."""

    def _close(self) -> None:
        """Let go of the device; must not raise."""
        return

    def reported(self, spec: Specification) -> tuple[str, ...]:
        """Return the records that this backend can give of a program."""
        return record_names(spec)

    # What a user calls.

    @property
    def uri(self) -> str:
        """What was connected to."""
        return self._uri

    @property
    def chip(self) -> Chip:
        """The chip's entry in the table of limits."""
        return self._chip

    @property
    def specification(self) -> Specification | None:
        """The program, or None before :meth:`configure`."""
        return self._specification

    @property
    def closed(self) -> bool:
        """Whether the session was closed."""
        return self._closed

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what answers: driver and firmware, where there are any."""
        return {}

    @property
    def retries(self) -> int:
        """Writes, resets and runs that failed and were repeated in the last configure, reset or run."""
        return self._retries_done

    @property
    def reordered(self) -> int:
        """Readouts of the last run that came out of order and were put right."""
        return 0 if self._last is None else self._last[1].reordered

    def configure(self, specification: Specification) -> Self:
        """Put a program on the chip, with all states at rest.

        Raises:
            ConfigurationError: the program is for another chip.
            ConfigurationRejected: it breaks the chip's limits; every one is listed.
            ConfigurationNotApplied: the chip holds something else than was written.
        """
        self._require_open()
        if specification.chip != self._chip.name:
            raise ConfigurationError(
                f"The program is for {specification.chip!r}, but {self._uri} is {self._chip.title} "
                f"({self._chip.name!r}). Deploy the network for this chip, or connect to the other."
            )
        broken = specification.violations()
        if broken:
            listed = "\n".join(f"  - {violation}" for violation in broken)
            raise ConfigurationRejected(f"{self._chip.title} does not take this program:\n{listed}")
        self._specification, self._condition, self._last = None, "unknown", None
        self._retries_done = 0
        self._retries_done = self._configure(specification)
        self._specification, self._condition = specification, "rest"
        return self

    def run(
        self, raster: Any, record: bool | Collection[str] = False, *, power: bool = False
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run a raster of event counts, as XyloSim does.

        Args:
            raster: ``(time, Nin)`` or ``(batch, time, Nin)``, numpy or torch, whole numbers 0..255; more
                than the chip takes in one step (15) are clipped.
            record: all records of :meth:`reported`, some by name, or none.
            power: measure power meanwhile, where the backend can; see :meth:`power`.

        Returns:
            ``(output, state, record)`` in the caller's kind and rank: events int64
            ``(batch, time, Nout)``; int16 states after the last step; records ``(batch, time, neurons)``.

        Raises:
            NotConfigured, SessionClosed: there is no program, or no session any more.
            StateUnknown: the last run failed; call :meth:`reset`, or give a batch, which begins at rest.
            ShapeError, DataError: the raster is none of this program's.
            SessionError: what its subclasses say; no partial result is ever returned.
        """
        spec = self._ready()
        wanted = self._wanted(spec, record)
        given = read_raster(raster, spec.n_in)
        counts = np.minimum(given.counts, np.uint8(self._chip.input_event_cap))
        if not given.batched and self._condition == "unknown":
            raise StateUnknown(
                "The last run did not end, so the chip's states are not known. Call reset() first; or give "
                "a batch, of which every sample begins at rest."
            )
        self._retries_done = 0
        if not given.batched and self._condition == "spent":
            self.reset()
        before, self._condition = self._condition, "unknown"
        answer = self._answer(counts, wanted, batched=given.batched, fresh=before == "rest", power=power)
        self._condition = "spent" if given.batched else "warm"
        self._last = counts, answer
        self._retries_done += answer.retries
        return self._returned(given, answer, wanted)

    def _answer(
        self, counts: np.ndarray, wanted: tuple[str, ...], *, batched: bool, fresh: bool, power: bool
    ) -> Answer:
        if not len(counts):
            return self._nothing(counts, wanted)
        return self._run(counts, wanted, from_rest=batched or fresh, power=power)

    def reset(self) -> Self:
        """Put all states to rest and drop events that are still to be delivered.

        Raises:
            StateNotReset: something is still there, after repeated attempts.
        """
        self._ready()
        self._condition, self._retries_done = "unknown", 0
        self._retries_done = self._reset()
        self._condition = "rest"
        return self

    def listen(
        self,
        steps: int,
        *,
        dt: float | None = None,
        hibernation: bool = False,
        interface: Mapping[str, Any] | None = None,
        power: bool = False,
    ) -> "Heard":
        """Let the chip run on its own sensor for ``steps`` time steps: only boards and imitations can.

        Raises:
            ConfigurationError: this session has no sensor.
        """
        raise ConfigurationError(
            f"{type(self).__name__} to {self._uri} has no sensor to listen to. Real time needs a board, "
            "connected without record_to: what a sensor hears is not recorded."
        )

    def power(self) -> SessionPower:
        """Return measured and estimated power of the last run.

        The estimate takes the run's own activity, which the simulator tells.

        Raises:
            NotConfigured: nothing was run yet.
            PowerUnavailable: the run was measured, but a supply gave no usable sample.
        """
        spec = self._ready()
        if self._last is None:
            raise NotConfigured("Nothing was run yet, so there is no power to report: call run() first.")
        counts, answer = self._last
        if answer.power is not None:
            answer.power.require_samples()
        program = compile_program(spec)
        found = run_program(program, counts, CoreState.zero(program), ["Spikes"]).recorded["Spikes"]
        active = (counts, found) if counts.size else (0.0, 0.0)
        return SessionPower(answer.power, estimate_power(spec, None, *active))

    def close(self) -> None:
        """Let go of the device; safe to call at any time and more than once."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        program = "no program" if self._specification is None else repr(self._specification)
        return f"{type(self).__name__}({self._uri!r}, {program}{', closed' if self._closed else ''})"

    def _require_open(self) -> None:
        if self._closed:
            raise SessionClosed(f"The session to {self._uri} is closed. Connect again.")

    def _ready(self) -> Specification:
        self._require_open()
        if self._specification is None:
            raise NotConfigured(f"{self._uri} has no program yet: call configure(specification) first.")
        return self._specification

    def _wanted(self, spec: Specification, record: bool | Collection[str]) -> tuple[str, ...]:
        reported = self.reported(spec)
        if isinstance(record, bool):
            return reported if record else ()
        names = [record] if isinstance(record, str) else list(record)
        for name in names:
            if name in record_names(spec) and name not in reported:
                raise ConfigurationError(
                    f"{self._uri} does not report {name} in this mode; it reports {', '.join(reported)}."
                )
            if name not in reported:
                raise ConfigurationError(unknown_key_message("record", str(name), reported))
        return tuple(name for name in reported if name in names)

    def _nothing(self, counts: np.ndarray, wanted: tuple[str, ...]) -> Answer:
        """Return the answer to a batch of no samples."""
        program = compile_program(self._ready())
        run = run_program(program, counts, CoreState.zero(program), {OUTPUT, *wanted})
        return Answer(run.recorded, run.state, ())

    @staticmethod
    def _returned(
        given: Raster, answer: Answer, wanted: tuple[str, ...]
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        output = given.returned(answer.recorded[OUTPUT].astype(np.int64))
        state = {name: given.returned(array) for name, array in vars(answer.state).items()}
        return output, state, {name: given.returned(answer.recorded[name]) for name in wanted}
