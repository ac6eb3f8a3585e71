"""A recorded session, played again on a machine without a board."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import FileFormatError

from ..xylo.simulator.program import compile_program
from ..xylo.simulator.run import RECORDS, CoreState
from ..xylo.specification.core import ARRAYS, Specification
from ..xylo.specification.files import specification_of_parts
from .answer import OUTPUT, Answer, record_width
from .errors import ReplayMismatch, error_named
from .power import PowerReading
from .recording import Operation, Recording
from .session import Session

__all__ = ["ReplaySession"]


class ReplaySession(Session):
    """Answers what was recorded, byte for byte, as long as the same is asked in the same order.

    Args:
        path: a ``.xrec`` file.

    Raises:
        FileFormatError: it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._recording = Recording.load(path)
        self._path, self._next = str(path), 0
        super().__init__(f"replay:{path}", get_chip(self._recording.chip))
        self._reported: tuple[str, ...] = ()

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what was recorded."""
        return self._recording.versions

    @property
    def recording(self) -> Recording:
        """All that was recorded."""
        return self._recording

    @property
    def specifications(self) -> tuple[Specification, ...]:
        """The programs that were put on the chip, in order."""
        return tuple(_specification(o) for o in self._recording.operations if o.kind == "configure")

    def reported(self, spec: Specification) -> tuple[str, ...]:
        """Return the records that the recorded session gave."""
        return self._reported

    def _configure(self, spec: Specification) -> int:
        operation = self._taken("configure")
        recorded = _specification(operation)
        if recorded != spec:
            differing = ", ".join(_differing(recorded, spec))
            raise self._mismatch(f"another program was recorded here, which differs in {differing}")
        self._spec = spec
        self._done(operation)
        with self._whole_answer():
            self._reported = tuple(map(str, operation.told["reported"]))
            return int(operation.told["retries"])

    def _reset(self) -> int:
        operation = self._taken("reset")
        self._done(operation)
        with self._whole_answer():
            return int(operation.told["retries"])

    def _run(self, counts: np.ndarray, wanted: tuple[str, ...], *, from_rest: bool, power: bool) -> Answer:
        operation = self._taken("run")
        told = operation.told
        raster = operation.arrays.get("raster")
        if raster is None or raster.shape != counts.shape:
            shape = None if raster is None else raster.shape
            raise self._mismatch(f"a raster {shape} was recorded here, not {counts.shape}")
        if not np.array_equal(raster, counts):
            at = tuple(int(i) for i in np.argwhere(raster != counts)[0])
            raise self._mismatch(f"the raster differs from the recorded one first at {at}")
        asked = {"wanted": list(wanted), "from_rest": from_rest, "power": power}
        for name, value in asked.items():
            if told.get(name) != value:
                raise self._mismatch(f"{name} = {told.get(name)!r} was recorded here, not {value!r}")
        self._done(operation)
        return self._answer_of(operation, wanted)

    def _taken(self, kind: str) -> Operation:
        operations = self._recording.operations
        if self._next >= len(operations):
            raise ReplayMismatch(
                f"{self._path} holds {len(operations)} operations and they are all done; {kind} is one more."
            )
        operation = operations[self._next]
        if operation.kind != kind:
            raise self._mismatch(f"{operation.kind} was recorded here, not {kind}")
        return operation

    def _done(self, operation: Operation) -> None:
        """Go on behind an operation; one that failed fails again."""
        self._next += 1
        if operation.error is not None:
            raise error_named(operation.error[0])(operation.error[1])

    def _mismatch(self, what: str) -> ReplayMismatch:
        return ReplayMismatch(
            f"{self._path}, operation {self._next}: {what}. Recorded calls are answered in their order."
        )

    @contextmanager
    def _whole_answer(self) -> Iterator[None]:
        """Tell that the answer of the operation before the next one cannot be used."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{self._path}, operation {self._next - 1}: the answer is not whole: {error!r}"
            ) from error

    def _answer_of(self, operation: Operation, wanted: tuple[str, ...]) -> Answer:
        with self._whole_answer():
            found: dict[str, Any] = operation.told["answer"]
            arrays = operation.arrays
            spec, (batch, steps, _) = self._spec, arrays["raster"].shape
            reading = None
            if "power" in found:
                supplies = {str(name): arrays[f"power.{name}"] for name in found["supplies"]}
                reading = PowerReading(supplies, **found["power"])
            shapes = vars(CoreState.zero(compile_program(spec), batch))
            return Answer(
                recorded={
                    name: _shaped(
                        arrays[f"record.{name}"],
                        name,
                        RECORDS[name],
                        (batch, steps, record_width(spec, name)),
                    )
                    for name in (OUTPUT, *wanted)
                },
                state=CoreState(
                    *(
                        _shaped(arrays[f"state.{name}"], name, like.dtype, like.shape)
                        for name, like in shapes.items()
                    )
                ),
                first_steps=tuple(map(int, found["first_steps"])),
                power=reading,
                retries=int(found["retries"]),
                reordered=int(found["reordered"]),
            )


def _differing(one: Specification, other: Specification) -> list[str]:
    """Return the fields in which two programs differ."""
    pairs = ((field.name, getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return [name for name, a, b in pairs if not (np.array_equal(a, b) if name in ARRAYS else a == b)]


def _shaped(array: np.ndarray, name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    return array


def _specification(operation: Operation) -> Specification:
    try:
        return specification_of_parts(operation.told["specification"], dict(operation.arrays))
    except (KeyError, ValueError, TypeError) as error:
        raise FileFormatError(f"The recorded program cannot be used: {error}") from error
