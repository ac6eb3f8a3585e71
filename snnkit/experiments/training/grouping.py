"""Sorts results by any fields of their jobs, under labels that tell only what differs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from snnkit.experiments.matrix import Job, Record
from snnkit.experiments.matrix.job import as_plain
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Labels", "by_label", "grouped"]

_NAMES = {
    "dataset": "name",
    "model": "cls",
    "initializer": "type",
    "optimizer": "cls",
    "training_params": "",
    "teleport": "mode",
}
"""Section -> the field that names it."""
_SEED_FIELD = "teleport.seed"


class Labels:
    """Words for the fields of jobs; what is the same in all of them is left out.

    Args:
        jobs: All jobs that are to be told apart.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._flat = {job.name: _flat(as_plain(job)) for job in jobs}
        keys = dict.fromkeys(key for flat in self._flat.values() for key in flat)
        self._varying = [key for key in keys if key != _SEED_FIELD and self._differs(key)]
        self._known = [*_NAMES, *keys]

    def _differs(self, key: str) -> bool:
        # What only some sections have (momentum beside Adam) is told where it is there.
        return len({repr(flat.get(key)) for flat in self._flat.values() if key in flat}) > 1

    @property
    def varying(self) -> tuple[str, ...]:
        """Fields, dotted, that differ between jobs."""
        return tuple(self._varying)

    def of(self, job: Job, field: str) -> str:
        """Return the label of ``field``: a section ("teleport") or a value in one ("optimizer.kwargs.lr").

        Raises:
            ConfigurationError: no job has such a field; the message names the nearest.
        """
        if field not in self._known:
            raise ConfigurationError(unknown_key_message("field", field, self._known))
        flat = self._flat[job.name]
        if field not in _NAMES:
            return _value(field, flat.get(field))
        if field == "teleport" and job.teleport is None:
            return "no teleport"
        name = flat.get(f"{field}.{_NAMES[field]}", field)
        head = {"random": "teleport"}.get(name, name) if field == "teleport" else name
        more = [
            _value(key, flat[key])
            for key in self._varying
            if key.startswith(f"{field}.") and _tells(flat.get(key), name)
        ]
        return " ".join([str(head), *more])


def grouped(
    records: Sequence[Record], labels: Labels, fields: Sequence[str]
) -> Mapping[tuple[str, ...], list[Record]]:
    """Return the records under the labels of ``fields``, in the order of first appearance."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(tuple(labels.of(record.job, field) for field in fields), []).append(record)
    return found


def by_label(
    records: Sequence[Record], labels: Labels, fields: Sequence[str], *, short: bool = False
) -> dict[str, list[Record]]:
    """Return the same with the labels joined into one.

    ``short`` leaves out what all of them share; where they share everything, two fields are told.
    """
    found = grouped(records, labels, fields)
    columns = list(zip(*found, strict=True))
    told = [i for i, column in enumerate(columns) if not short or len(set(column)) > 1]
    told = told or list(range(min(len(columns), 2)))
    return {" · ".join(label[i] for i in told): some for label, some in found.items()}


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        place = f"{prefix}{key}"
        flat |= _flat(value, f"{place}.") if isinstance(value, Mapping) else {place: value}
    return flat


def _tells(value: Any, name: Any) -> bool:
    return value is not None and value is not False and value != name


def _value(key: str, value: Any) -> str:
    name = key.rsplit(".", 1)[-1]
    if value is True:
        return name
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if name in ("cls", "name", "type", "mode", "activation") else f"{name}={text}"
