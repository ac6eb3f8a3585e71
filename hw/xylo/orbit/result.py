"""What a search over the orbit found, in figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .certificate import Certificate

__all__ = ["Measures", "OrbitReport"]


@dataclass(frozen=True)
class Measures:
    """How far a program is from the float network on the recordings of the search.

    Mismatches are sums of |events - the network's events|, step by step, over all events of the network.

    Attributes:
        hidden_forced: mismatch of the hidden neurons, each driven by the network's events.
        output_forced: the same for output neurons.
        hidden_free: mismatch of the hidden neurons where the chip runs by itself.
        output_free: the same for output neurons.
        count_error: mean difference of an output's summed events in a recording.
        saturations: clamped sums in free run.
        score: fraction of right classes; without labels, of classes that are the network's.
    """

    hidden_forced: float
    output_forced: float
    hidden_free: float
    output_free: float
    count_error: float
    saturations: int
    score: float

    @property
    def free(self) -> float:
        """Both mismatches in free run, added: what programs are chosen by."""
        return self.hidden_free + self.output_free

    def is_no_worse_than(self, other: "Measures") -> bool:
        """Tell whether no mismatch is larger than another program's."""
        names = ("hidden_forced", "output_forced", "hidden_free", "output_free")
        return all(getattr(self, name) <= getattr(other, name) for name in names)


@dataclass(frozen=True, eq=False)
class OrbitReport:
    """What ``deploy(..., method="orbit")`` did; prints as a table.

    Scales are symmetries of the float network. Offsets of thresholds and biases, and the rounding of weights,
    are not: they make up for what integers cannot hold.

    Attributes:
        before: the program of ``method="peaks"``, from which the search starts.
        after: the program that was chosen.
        kept: ``"searched"``, or ``"start"`` where the search found nothing better.
        scales: module path -> (N,) factor of each neuron, relative to that at which its largest weight just
            fits.
        threshold_offsets: module path -> (N,) integers added to the scaled thresholds.
        bias_offsets: module path -> (N,) integers added to the scaled biases.
        turned: module path -> (N,) weights that are rounded away from the nearest integer.
        searched: what was tried, in sentences.
        recordings: how many the search used.
        seconds: of wall time.
        certificate: the scales as a teleport of the float network, and that they change none of its events.
    """

    before: Measures
    after: Measures
    kept: str
    scales: Mapping[str, np.ndarray]
    threshold_offsets: Mapping[str, np.ndarray]
    bias_offsets: Mapping[str, np.ndarray]
    turned: Mapping[str, np.ndarray]
    searched: tuple[str, ...]
    recordings: int
    seconds: float
    certificate: Certificate

    def __str__(self) -> str:
        return "\n".join(
            [
                f"orbit: {self.kept} program kept, {self.recordings} recordings, {self.seconds:.0f} s",
                *(f"  {line}" for line in self.searched),
                "  before -> after:",
                *(f"    {name:<34} {old} -> {new}" for name, old, new in self._figures()),
                *(f"  {path}: {text}" for path, text in self._populations()),
                f"  {self.certificate}",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        by_neuron = ("scales", "threshold_offsets", "bias_offsets", "turned")
        return {
            "before": asdict(self.before),
            "after": asdict(self.after),
            "kept": self.kept,
            **{name: {p: v.tolist() for p, v in getattr(self, name).items()} for name in by_neuron},
            "searched": list(self.searched),
            "recordings": self.recordings,
            "seconds": self.seconds,
            "certificate": {
                "events": self.certificate.events,
                "differing": self.certificate.differing,
                "reason": self.certificate.reason,
            },
        }

    def _figures(self) -> list[tuple[str, str, str]]:
        rows = {
            "hidden mismatch, driven by the net": lambda found: f"{found.hidden_forced:.2%}",
            "output mismatch, driven by the net": lambda found: f"{found.output_forced:.2%}",
            "hidden mismatch, free": lambda found: f"{found.hidden_free:.2%}",
            "output mismatch, free": lambda found: f"{found.output_free:.2%}",
            "events off, output and recording": lambda found: f"{found.count_error:.3f}",
            "saturations": lambda found: f"{found.saturations}",
            "right classes": lambda found: f"{found.score:.2%}",
        }
        return [(title, text(self.before), text(self.after)) for title, text in rows.items()]

    def _populations(self) -> list[tuple[str, str]]:
        found = []
        for path, scale in self.scales.items():
            threshold = int(np.count_nonzero(self.threshold_offsets[path]))
            bias = int(np.count_nonzero(self.bias_offsets[path]))
            low, middle, high = np.quantile(scale, (0, 0.5, 1)) if scale.size else (0.0, 0.0, 0.0)
            found.append(
                (
                    path,
                    f"scales {low:.2f} to {high:.2f} of the largest (median {middle:.2f}), {threshold} "
                    f"thresholds and {bias} biases offset, {int(self.turned[path].sum())} weights turned",
                )
            )
        return found
