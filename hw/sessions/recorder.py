"""A session that writes down all that another one does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import snnkit

from ..xylo.specification.core import Specification
from ..xylo.specification.files import specification_parts
from .answer import Answer
from .errors import SessionError
from .recording import Operation, Recording
from .session import Session

__all__ = ["RecordingSession"]


class RecordingSession(Session):
    """Passes everything on to another session, and writes the recording when it is closed.

    Args:
        inner: an open session, which is closed with this one.
        path: the ``.xrec`` file.
    """

    def __init__(self, inner: Session, path: str | Path) -> None:
        super().__init__(inner.uri, inner.chip)
        self._inner, self._path = inner, Path(path)
        self._operations: list[Operation] = []
        self._versions = {"snnkit": snnkit.__version__, **inner.versions}

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what answers."""
        return self._versions

    def reported(self, spec: Specification) -> tuple[str, ...]:
        """Return the records that the recorded session can give."""
        return self._inner.reported(spec)

    def _note(self, kind: str, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._operations.append(Operation(kind, told, arrays))

    def _note_failure(
        self, kind: str, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray], error: SessionError
    ) -> None:
        self._operations.append(Operation(kind, told, arrays, (type(error).__name__, str(error))))

    def _configure(self, spec: Specification) -> int:
        header, arrays = specification_parts(spec)
        try:
            retries = self._inner._configure(spec)
        except SessionError as error:
            self._note_failure("configure", {"specification": header, "reported": []}, arrays, error)
            raise
        reported = list(self._inner.reported(spec))
        told = {"specification": header, "reported": reported, "retries": retries}
        self._note("configure", told, arrays)
        return retries

    def _reset(self) -> int:
        try:
            retries = self._inner._reset()
        except SessionError as error:
            self._note_failure("reset", {}, {}, error)
            raise
        self._note("reset", {"retries": retries}, {})
        return retries

    def _run(self, counts: np.ndarray, wanted: tuple[str, ...], *, from_rest: bool, power: bool) -> Answer:
        told = {"wanted": list(wanted), "from_rest": from_rest, "power": power}
        given = {"raster": counts}
        try:
            answer = self._inner._run(counts, wanted, from_rest=from_rest, power=power)
        except SessionError as error:
            self._note_failure("run", told, given, error)
            raise
        arrays = {f"record.{name}": array for name, array in answer.recorded.items()}
        arrays |= {f"state.{name}": array for name, array in vars(answer.state).items()}
        found = {name: getattr(answer, name) for name in ("retries", "reordered")}
        found["first_steps"] = list(answer.first_steps)
        if answer.power is not None:
            arrays |= {f"power.{name}": values for name, values in answer.power.channels.items()}
            found["power"] = {name: getattr(answer.power, name) for name in ("rate", "dropped", "seconds")}
            found["supplies"] = list(answer.power.channels)
        self._note("run", told | {"answer": found}, given | arrays)
        return answer

    def _close(self) -> None:
        self._inner.close()
        Recording(self.chip.name, self.uri, self._versions, tuple(self._operations)).save(self._path)
