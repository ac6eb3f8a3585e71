"""What turning a network into integers cost, layer by layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..mapping.mapped_network import MappedNetwork
from ..mapping.network_limits import tau_of_dash
from ..mapping.resource import Resource
from ..specification.core import Population, Specification
from .calibration import ShiftPoint, Trial
from .quantising import QuantisedNetwork

if TYPE_CHECKING:
    from ..orbit.result import OrbitReport

__all__ = ["DeploymentReport", "LayerReport", "layer_reports"]


@dataclass(frozen=True)
class LayerReport:
    """One population of neurons. Errors are relative: 0.01 is one per cent.

    Attributes:
        path: module path of the neurons.
        layer: ``"hidden"`` or ``"output"``.
        neurons: how many.
        weight_error: root mean square error of all incoming weights over their root mean square.
        lost_weights: weights that were not zero and are now.
        threshold_error: largest error of a threshold.
        tau_mem_error: largest error of a membrane time constant after rounding to a bit shift.
        tau_syn_error: the same for synapses.
        tau_mem: shortest and longest time constant on the chip, in seconds.
        tau_syn: the same for synapses.
        clipped_events: steps in which a neuron had more events than the chip allows (their charge stays),
            and events that an alias brought in vain.
        saturations: sums that were clamped to 16 bits.
        scale: smallest and largest factor from float to integers.
    """

    path: str
    layer: str
    neurons: int
    weight_error: float
    lost_weights: int
    threshold_error: float
    tau_mem_error: float
    tau_syn_error: float
    tau_mem: tuple[float, float]
    tau_syn: tuple[float, float]
    clipped_events: int
    saturations: int
    scale: tuple[float, float]


@dataclass(frozen=True)
class DeploymentReport:
    """What :func:`deploy` did, and what it cost; prints as tables.

    Attributes:
        chip: name in the chip table.
        layers: the populations in the order of their neurons.
        shift_curve: what other weight shifts would give; empty without calibration data.
        weight_shifts: those chosen, for inputs, hidden neurons and outputs.
        agreement: see :class:`ShiftPoint`; None without calibration data.
        same_class: fraction of samples to which chip and network give the same class.
        float_accuracy: of the network on the calibration data, if it has labels.
        chip_accuracy: of the program.
        clipped_inputs: input events above the chip's limit for a step; they are lost.
        saturations: clamped sums in all.
        resources: what the network takes of the chip.
        notes: what a user should know.
        delay: time steps by which the chip's outputs lag the network's.
        orbit: what a search over the orbit did; None for other methods.
    """

    chip: str
    layers: tuple[LayerReport, ...]
    shift_curve: tuple[ShiftPoint, ...]
    weight_shifts: tuple[int, int, int]
    agreement: float | None
    same_class: float | None
    float_accuracy: float | None
    chip_accuracy: float | None
    clipped_inputs: int
    saturations: int
    resources: tuple[Resource, ...]
    notes: tuple[str, ...]
    delay: int
    orbit: "OrbitReport | None" = None

    def __str__(self) -> str:
        lines = [
            f"Deployed to {self.chip}, outputs {self.delay} steps late",
            "weight shifts: input {}, hidden {}, output {}".format(*self.weight_shifts),
            "",
            *_table(_layer_rows(self.layers)),
        ]
        if self.agreement is not None:
            lines += ["", *_calibration_lines(self)]
        if self.orbit is not None:
            lines += ["", str(self.orbit)]
        if self.shift_curve:
            lines += ["", *_table(_curve_rows(self.shift_curve))]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)


def layer_reports(
    mapped: MappedNetwork, quantised: QuantisedNetwork, trial: Trial | None
) -> tuple[LayerReport, ...]:
    """Compare a program with the network that it was made of."""
    return tuple(_layer_report(population, mapped, quantised, trial) for population in mapped.populations)


def _layer_report(
    population: Population, mapped: MappedNetwork, quantised: QuantisedNetwork, trial: Trial | None
) -> LayerReport:
    spec = quantised.specification
    hidden = population.layer == "hidden"
    place = slice(population.start, population.stop)
    scale = (quantised.scale if hidden else quantised.scale_out)[place]
    wanted, found = _incoming(mapped, spec, place, scale, hidden)
    decay_mem = (mapped.decay_mem if hidden else mapped.decay_mem_out)[place]
    decay_syn = (mapped.decay_syn if hidden else mapped.decay_syn_out)[place]
    threshold = (mapped.threshold if hidden else mapped.threshold_out)[place]
    on_chip = (spec.threshold if hidden else spec.threshold_out)[place] / scale
    tau_mem = tau_of_dash((spec.dash_mem if hidden else spec.dash_mem_out)[place], mapped.dt)
    tau_syn = tau_of_dash(_dash_syn(spec, hidden)[place], mapped.dt).reshape(decay_syn.shape)
    clipped, saturations = _losses(population, trial)
    return LayerReport(
        path=population.path,
        layer=population.layer,
        neurons=population.stop - population.start,
        weight_error=_relative_rms(found - wanted, wanted),
        lost_weights=int(np.count_nonzero((wanted != 0) & (found == 0))),
        threshold_error=_threshold_error(threshold, on_chip, mapped.chip.max_threshold),
        tau_mem_error=_tau_error(tau_mem, decay_mem, mapped.dt),
        tau_syn_error=_tau_error(tau_syn, decay_syn, mapped.dt),
        tau_mem=_range(tau_mem),
        tau_syn=_range(tau_syn),
        clipped_events=clipped,
        saturations=saturations,
        scale=_range(scale),
    )


def _incoming(
    mapped: MappedNetwork, spec: Specification, place: slice, scale: np.ndarray, hidden: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return all weights into some neurons, flat: as they were, and as the chip has them."""
    if not hidden:
        factor = 2.0**spec.weight_shift_out / scale
        return mapped.weights_out[:, place].ravel(), (spec.weights_out[:, place] * factor).ravel()
    wanted, found = [], []
    for name in ("in", "rec"):
        floats = getattr(mapped, f"weights_{name}")[:, place]
        integers = getattr(spec, f"weights_{name}")[:, place]
        factor = 2.0 ** getattr(spec, f"weight_shift_{name}") / scale[: floats.shape[1], None]
        wanted.append(floats.ravel())
        found.append((integers * factor).ravel())
    return np.concatenate(wanted), np.concatenate(found)


def _dash_syn(spec: Specification, hidden: bool) -> np.ndarray:
    if not hidden:
        return spec.dash_syn_out
    return np.stack([spec.dash_syn, spec.dash_syn_2], axis=1)[:, : spec.n_synapses]


def _losses(population: Population, trial: Trial | None) -> tuple[int, int]:
    if trial is None:
        return 0, 0
    counters, place = trial.counters, slice(population.start, population.stop)
    if population.layer == "output":
        clipped = int(counters.capped_out[place].sum())
    else:
        clipped = int(counters.capped[place].sum() + counters.lost_alias_events[place].sum())
    return clipped, sum(counters.saturations[population.path].values())


def _relative_rms(error: np.ndarray, reference: np.ndarray) -> float:
    size = float(np.sqrt(np.mean(reference**2))) if reference.size else 0.0
    return float(np.sqrt(np.mean(error**2))) / size if size else 0.0


def _threshold_error(threshold: np.ndarray, on_chip: np.ndarray, largest: int) -> float:
    """Return the largest error; thresholds that are there so as never to be reached have none."""
    error = np.abs(on_chip / threshold - 1)
    return float(error[threshold < largest].max(initial=0))


def _tau_error(tau: np.ndarray, decay: np.ndarray, dt: float) -> float:
    return float(np.abs(tau * -np.log(decay) / dt - 1).max(initial=0))


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))


def _layer_rows(layers: tuple[LayerReport, ...]) -> list[list[str]]:
    head = ["neurons", "weights", "lost", "threshold", "tau_mem", "tau_syn", "clipped", "saturated"]
    rows = [["layer", *head]]
    for layer in layers:
        errors = (layer.weight_error, layer.threshold_error, layer.tau_mem_error, layer.tau_syn_error)
        weight, threshold, tau_mem, tau_syn = (f"{error:.2%}" for error in errors)
        rows.append(
            [
                layer.path, str(layer.neurons), weight, str(layer.lost_weights), threshold, tau_mem, tau_syn,
                str(layer.clipped_events), str(layer.saturations),
            ]
        )  # fmt: skip
    return rows


def _curve_rows(curve: tuple[ShiftPoint, ...]) -> list[list[str]]:
    rows = [["shift", "saturations", "agreement", "accuracy"]]
    for point in curve:
        accuracy = "" if point.accuracy is None else f"{point.accuracy:.2%}"
        rows.append([str(point.shift), str(point.saturations), f"{point.agreement:.2%}", accuracy])
    return rows


def _calibration_lines(report: DeploymentReport) -> list[str]:
    lines = [
        f"on the calibration data: output events agree to {report.agreement:.2%}, "
        f"{report.same_class:.2%} of samples get the network's class",
        f"saturations {report.saturations}, clipped input events {report.clipped_inputs}",
    ]
    if report.chip_accuracy is not None:
        lines.append(f"accuracy: network {report.float_accuracy:.2%}, chip {report.chip_accuracy:.2%}")
    return lines


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
