"""Everything the report page shows, as frozen data that a run folder keeps.

The pipeline fills a :class:`ReportData` and saves it; the page is drawn from it alone, so a report can be
drawn again, or by another program, without the network, the recordings or torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from snnkit.hw.divergence.result import Divergence
from snnkit.hw.xylo.mapping.resource import Resource
from snnkit.report.codec import read_record, same_content, write_record
from snnkit.utilities.errors import ShapeError

__all__ = [
    "DeploymentRow",
    "DeviceRun",
    "Divergence",
    "EpochRecord",
    "Exactness",
    "Histogram",
    "ReportData",
    "Resource",
    "SampleTrace",
    "ShiftPoint",
    "Timing",
]

_FILE_STEM = "report-data"
_FORMAT = "snnkit report data"
_VERSION = 2


class _Record:
    """Makes arrays read-only and compares by content; for frozen dataclasses that hold arrays."""

    def _freeze(self, dtypes: Mapping[str, type]) -> None:
        for name, dtype in dtypes.items():
            array: np.ndarray = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            same_content(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)  # type: ignore[arg-type]
        )

    __hash__ = None  # type: ignore[assignment]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ShapeError(message)


@dataclass(frozen=True, eq=False)
class SampleTrace(_Record):
    """One recording of the test split as the net and the chip answered it; arrays are event counts.

    Hidden events are in the net's time: each layer of the chip is moved back by its own delay. The chip's
    output is as the chip timed it, ``delay`` steps after the net's, and may have that many more steps.
    """

    index: int
    """Place in the test split."""
    label: int
    input: np.ndarray
    """Shape ``(time, input channels)``."""
    net_hidden: np.ndarray
    """Shape ``(time, hidden neurons)``."""
    chip_hidden: np.ndarray
    net_output: np.ndarray
    """Shape ``(time, classes)``."""
    chip_output: np.ndarray
    delay: int = 0

    def __post_init__(self) -> None:
        names = ("input", "net_hidden", "chip_hidden", "net_output", "chip_output")
        self._freeze(dict.fromkeys(names, np.int64))
        for name in names:
            shape = getattr(self, name).shape
            _require(len(shape) == 2, f"SampleTrace.{name} must have shape (time, neurons), not {shape}.")
        for kind in ("hidden", "output"):
            net, chip = getattr(self, f"net_{kind}").shape, getattr(self, f"chip_{kind}").shape
            _require(
                net[1] == chip[1],
                f"SampleTrace: the net has {net[1]} {kind} neurons and the chip {chip[1]}; they must match.",
            )


@dataclass(frozen=True, eq=False)
class Histogram(_Record):
    """Counts of integer weights or states, with the range that the chip can hold."""

    name: str
    edges: np.ndarray
    """Shape ``(bins + 1,)``, rising."""
    counts: np.ndarray
    """Shape ``(bins,)``."""
    limit_low: float | None = None
    limit_high: float | None = None
    saturated: int = 0
    """How many values lie at a limit, or how many updates were cut off there."""

    def __post_init__(self) -> None:
        self._freeze({"edges": np.float64, "counts": np.int64})
        _require(
            self.edges.ndim == 1 and self.counts.shape == (self.edges.size - 1,) and self.counts.size > 0,
            f"Histogram {self.name!r}: {self.counts.shape} counts need one more edge than bins, "
            f"not {self.edges.shape}.",
        )
        _require(bool((np.diff(self.edges) > 0).all()), f"Histogram {self.name!r}: edges must rise.")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training; ``stage`` is ``"float"``, ``"chip_exact"`` or ``"qat"``."""

    stage: str
    epoch: int
    loss: float
    train_accuracy: float


@dataclass(frozen=True)
class ShiftPoint:
    """What the chip would reach with another weight shift."""

    shift: int
    accuracy: float
    saturations: int


@dataclass(frozen=True)
class Timing:
    """Cycles, clock and power, with the words that say how they were estimated."""

    cycles_per_step: float
    clock_hz: float
    """Slowest main clock that keeps up with real time."""
    power_w: float | None
    explanation: str
    dt: float | None = None
    """Seconds per time step."""


@dataclass(frozen=True)
class Exactness:
    """Numbers compared between a trained net's own forward pass and the simulation of its program."""

    events: int
    """Event counts compared, one for each recording, time step and neuron."""
    states: int
    """States compared: synapses and membranes of all neurons in all steps."""
    differing_events: int
    differing_states: int

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return not (self.differing_events or self.differing_states)


@dataclass(frozen=True)
class DeviceRun:
    """What a device did with the program's test vectors, beside the simulator."""

    uri: str
    samples: int
    values: int
    """Events and states compared."""
    different: int
    findings: tuple[str, ...]
    """Where they first differ, and what explains it; empty if nowhere."""
    measured_w: dict[str, float]
    """Mean power of each supply; empty where nothing was measured."""
    estimated: str
    """Power by the cycle model, in words."""
    versions: dict[str, str]
    """Of driver and firmware."""


@dataclass(frozen=True)
class DeploymentRow:
    """What turning one layer into integers cost. Errors are relative (0.01 is one per cent)."""

    layer: str
    weight_error: float | None
    tau_error: float | None
    clipped_events: int
    saturations: int


@dataclass(frozen=True, eq=False)
class ReportData(_Record):
    """One run, from recordings to chip.

    ``predictions`` and ``accuracy`` have the keys "float", "chip_exact" or "qat", and "chip".

    ``save`` writes ``report-data.json`` and ``report-data.safetensors`` into a folder; ``load`` reads them.
    """

    recipe: str
    title: str
    chip: str
    """Name in the chip table, such as ``"imu"``."""
    seed: int
    seconds: float
    classes: tuple[str, ...]
    labels: np.ndarray
    """Shape ``(samples,)``: the test split's classes as indices."""
    predictions: dict[str, np.ndarray]
    accuracy: dict[str, float]
    """Fractions of the test split."""
    history: tuple[EpochRecord, ...]
    sample: SampleTrace
    weight_histograms: tuple[Histogram, ...]
    state_histograms: tuple[Histogram, ...]
    shift_curve: tuple[ShiftPoint, ...]
    resources: tuple[Resource, ...]
    timing: Timing
    deployment: tuple[DeploymentRow, ...]
    divergence: Divergence | None
    exactness: Exactness | None
    """What was compared between a chip-exact net and the simulation of its program."""
    versions: dict[str, str]
    command: str = ""
    """The command line that makes this run again; empty: run the recipe.toml of the run's folder."""
    compared_samples: int = 0
    """Recordings on which the net and the chip were compared event by event."""
    shift_chosen: int | None = None
    """The weight shift that was deployed, to be marked on the curve."""
    device: DeviceRun | None = None
    """What ``snnkit validate --on`` found."""
    notes: tuple[str, ...] = field(default=())
    """Sentences that a reader must know (a shortened test split, a model trained elsewhere)."""

    def __post_init__(self) -> None:
        self._freeze({"labels": np.int64})
        n = self.labels.size
        _require(self.labels.ndim == 1 and n > 0, "ReportData.labels must have shape (samples,), not empty.")
        frozen = {}
        for key, values in self.predictions.items():
            array = np.array(values, dtype=np.int64)
            _require(array.shape == (n,), f"ReportData.predictions[{key!r}] must have {n} entries.")
            array.setflags(write=False)
            frozen[key] = array
        object.__setattr__(self, "predictions", frozen)
        for key, values in {"labels": self.labels, **frozen}.items():
            _require(
                bool((values >= 0).all() and (values < len(self.classes)).all()),
                f"ReportData: {key} names classes outside 0 to {len(self.classes) - 1}.",
            )

    def save(self, folder: str | Path) -> Path:
        """Write both files into ``folder`` and return the path of the JSON file."""
        return write_record(self, folder, _FILE_STEM, _FORMAT, _VERSION)

    @classmethod
    def load(cls, folder: str | Path) -> "ReportData":
        """Read what :meth:`save` wrote; damage, another version or unknown content raises FileFormatError."""
        record: Any = read_record(cls, folder, _FILE_STEM, _FORMAT, _VERSION)
        return record
