"""One training job: all that decides its result. Equal jobs have equal names on every machine."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from snnkit.experiments.matrix.sections import Dataset, Initializer, Model, Optimizer, TrainingParams
from snnkit.experiments.matrix.unrolling import read_sections
from snnkit.teleport.training import TeleportationSettings
from snnkit.utilities.errors import FileFormatError

__all__ = ["JOB_FORMAT", "Job", "as_plain"]

JOB_FORMAT = "snnkit-job-1"
_NAME_DIGITS = 16
_SECTIONS: Mapping[str, type] = {
    "dataset": Dataset,
    "model": Model,
    "initializer": Initializer,
    "optimizer": Optimizer,
    "training_params": TrainingParams,
    "teleport": TeleportationSettings,
}


@dataclass(frozen=True)
class Job:
    """Data, model, its initial weights, optimiser, training, teleportation, and which of several runs.

    Runs of one number begin with the same weights and see the same batches, whatever else differs between
    them: what differs between two jobs is then what their sections say.
    """

    dataset: Dataset
    model: Model
    initializer: Initializer
    optimizer: Optimizer
    training_params: TrainingParams
    teleport: TeleportationSettings | None
    seed: int
    run: int

    @property
    def name(self) -> str:
        """16 digits of the SHA-256 of its content."""
        text = json.dumps(self.to_table(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_NAME_DIGITS]

    def to_table(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"format": JOB_FORMAT, **as_plain(self)}

    @classmethod
    def from_table(cls, table: Any, source: str) -> "Job":
        """Undo :meth:`to_table`; FileFormatError lists what is wrong. ``source`` names it in messages."""
        if not isinstance(table, Mapping) or table.get("format") != JOB_FORMAT:
            raise FileFormatError(f"{source} is not a job of format {JOB_FORMAT}.")
        problems: list[str] = []
        values: dict[str, Any] = {"seed": table.get("seed"), "run": table.get("run")}
        problems += [
            f"{key} must be a whole number." for key, value in values.items() if type(value) is not int
        ]
        for name, section in _SECTIONS.items():
            if name == "teleport" and table.get(name) is None:
                values[name] = None
                continue
            found = read_sections(section, table.get(name), name, problems)
            if len(found) == 1:
                values[name] = found[0]
            elif found:
                problems.append(f"{name} stands for {len(found)} values; a job has one.")
        if problems:
            raise FileFormatError(f"{source} is not a job: {' '.join(problems)}")
        return cls(**values)


def as_plain(value: Any) -> Any:
    """Turn dataclasses, mappings and tuples into tables and lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(inner) for inner in value]
    return value
