"""A program on a device against the simulator: every event and every state that the device reports."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snnkit.utilities.errors import DataError, FileFormatError

from ..divergence.diverge import diverge
from ..divergence.result import Comparison
from ..xylo.power import PowerEstimate, estimate_power
from ..xylo.simulator.rasters import read_raster
from ..xylo.simulator.xylo_sim import XyloSim
from ..xylo.specification.core import Specification
from .answer import OUTPUT
from .errors import DriverMismatch, PowerUnavailable
from .power import PowerReading
from .session import Session

__all__ = ["DeviceValidation", "MeasuredPower", "RecordAgreement", "validate_on"]

FORMAT = "snnkit device validation"
VERSION = 1


@dataclass(frozen=True)
class RecordAgreement:
    """How many values of one record were compared, and how many of them differ."""

    name: str
    values: int
    different: int


@dataclass(frozen=True)
class MeasuredPower:
    """Means of a board's power monitor over all rasters.

    Attributes:
        watts: by supply.
        samples: of each supply, at least.
        rate: samples per second.
        dropped: samples that were no power.
    """

    watts: Mapping[str, float]
    samples: int
    rate: float
    dropped: int


@dataclass(frozen=True)
class DeviceValidation:
    """What a device did with a program, beside what the simulator says it does.

    Attributes:
        uri: what was connected to.
        chip: name in the chip table.
        specification: digest of the program.
        samples: rasters that were run, each from rest.
        steps: time steps of each.
        records: what was compared: output events, and every record that the device reports.
        comparison: where device and simulator first differ, and which parameter explains it.
        measured: power while the rasters ran; None where it cannot be measured.
        estimate: of the cycle model with the activity of these rasters.
        retries: writes, resets and runs that failed and were repeated.
        reordered: readouts that came out of order.
        versions: of driver and firmware.
        power_problem: why a device that should measure power did not; what it computed counts all the same.
    """

    uri: str
    chip: str
    specification: str
    samples: int
    steps: int
    records: tuple[RecordAgreement, ...]
    comparison: Comparison
    measured: MeasuredPower | None
    estimate: PowerEstimate
    retries: int
    reordered: int
    versions: Mapping[str, str]
    power_problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not any(record.different for record in self.records)

    @property
    def values(self) -> int:
        """Events and states compared in all."""
        return sum(record.values for record in self.records)

    def __str__(self) -> str:
        lines = [f"{self.uri}: {self.samples} rasters of {self.steps} steps, each from rest"]
        wrong = [r for r in self.records if r.different]
        if not wrong:
            names = ", ".join(record.name for record in self.records)
            lines.append(f"All {self.values:,} values agree with the simulator: {names}.")
        lines += [f"{r.name}: {r.different:,} of {r.values:,} values differ." for r in wrong]
        divergence = self.comparison.divergence
        if divergence is not None:
            lines.append(f"First difference: {divergence}")
            lines += [f"  explained by {candidate}" for candidate in divergence.candidates[:3]]
        lines.append(f"Power: {self.power_text}.")
        if self.retries or self.reordered:
            lines.append(
                f"{self.retries} failed attempts were repeated, {self.reordered} readouts put in order."
            )
        return "\n".join(lines)

    @property
    def power_text(self) -> str:
        """Measured and estimated power in words."""
        if self.measured is None:
            why = f" ({self.power_problem.rstrip('.')})" if self.power_problem else ""
            return f"not measured{why}; estimated {self.estimate}"
        shown = ", ".join(f"{name} {1e6 * watts:.0f} µW" for name, watts in self.measured.watts.items())
        return f"measured {shown} ({self.measured.samples} samples); estimated {self.estimate}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        table = asdict(self) | {"comparison": self.comparison.to_json(), "versions": dict(self.versions)}
        return {"format": FORMAT, "version": VERSION, "passed": self.passed, **table}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "DeviceValidation":
        """Read what :meth:`to_json` returned; anything else raises FileFormatError."""
        if not isinstance(table, Mapping) or table.get("format") != FORMAT or table.get("version") != VERSION:
            raise FileFormatError("This is no validation on a device that this release reads.")
        values = {name: value for name, value in table.items() if name not in ("format", "version", "passed")}
        try:
            measured = values["measured"]
            values["records"] = tuple(RecordAgreement(**entry) for entry in values["records"])
            values["comparison"] = Comparison.from_json(values["comparison"])
            values["measured"] = None if measured is None else MeasuredPower(**measured)
            values["estimate"] = PowerEstimate(**values["estimate"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise FileFormatError(f"The validation on a device is damaged: {error!r}") from error


def validate_on(session: Session, spec: Specification, raster: Any) -> DeviceValidation:
    """Run a program on a session, from rest for every sample, and compare all that it reports.

    The rasters run twice: with states recorded, and alone while power is measured.

    Args:
        session: open, for the program's chip.
        spec: the program.
        raster: ``(batch, time, Nin)`` event counts.

    Raises:
        SessionError: the device fails; see its subclasses.
        ShapeError, DataError: the rasters are none of this program, or there are none.
    """
    counts = read_raster(raster, spec.n_in).counts
    if not counts.size:
        raise DataError("A validation needs at least one raster with one time step.")
    session.configure(spec)
    retries = session.retries
    output, _, record = session.run(counts, record=True)
    retries, reordered = retries + session.retries, session.reordered
    found = {OUTPUT: output, **record}
    expected_output, _, expected = XyloSim(spec)(counts, record=True)
    expected = {OUTPUT: expected_output, **expected}
    measured, problem = _measured(session, counts)
    return DeviceValidation(
        uri=session.uri,
        chip=spec.chip,
        specification=spec.digest,
        samples=len(counts),
        steps=counts.shape[1],
        records=tuple(
            RecordAgreement(name, values.size, int(np.count_nonzero(values != expected[name])))
            for name, values in found.items()
        ),
        comparison=diverge(spec, found, counts),
        measured=measured,
        estimate=estimate_power(spec, None, counts, expected["Spikes"]),
        retries=retries + session.retries,
        reordered=reordered + session.reordered,
        versions=dict(session.versions),
        power_problem=problem,
    )


def _measured(session: Session, counts: np.ndarray) -> tuple[MeasuredPower | None, str]:
    """Run once more for power alone; return what was measured, or why nothing was."""
    try:
        session.run(counts, power=True)
        reading = session.power().measured
    except (DriverMismatch, PowerUnavailable) as error:
        return None, str(error)
    return None if reading is None else _means(reading), ""


def _means(reading: PowerReading) -> MeasuredPower:
    samples = min((len(values) for values in reading.channels.values()), default=0)
    return MeasuredPower(reading.watts, samples, reading.rate, reading.dropped)
