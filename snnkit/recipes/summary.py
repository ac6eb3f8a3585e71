"""Gathers what the report page shows from what the stages left."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

import snnkit
from snnkit.hw.xylo.cycles import count_cycles, est_clock_freq
from snnkit.hw.xylo.power import estimate_power
from snnkit.hw.xylo.specification.core import Specification
from snnkit.recipes.activity import chip_record, hidden_in_net_time, net_events
from snnkit.recipes.chip_stages import Simulation
from snnkit.recipes.exactness import net_record
from snnkit.recipes.finetune_stage import Trained
from snnkit.recipes.validation import Validation
from snnkit.report.data import (
    DeploymentRow,
    EpochRecord,
    Histogram,
    ReportData,
    Resource,
    SampleTrace,
    ShiftPoint,
    Timing,
)
from snnkit.utilities.chips import get_chip

__all__ = ["report_data"]

_BINS = 48
_STATE_RECORDINGS = 32
_SHIFTED = ("input", "recurrent", "output")
_STATE_NAMES = {
    "Isyn": "hidden synapse",
    "Isyn2": "hidden synapse 2",
    "Vmem": "hidden membrane",
    "Isyn_out": "output synapse",
    "Vmem_out": "output membrane",
}


def report_data(
    trained: Trained,
    simulation: Simulation,
    validation: Validation,
    table: Mapping[str, Any],
) -> ReportData:
    """Return the report's data; ``seconds`` is 0, for the run is not over yet.

    Args:
        trained: Nets, histories and their answers to the test split.
        simulation: The test split on the chip.
        validation: How far they agree.
        table: What is known of the deployment (``deployment.json``).
    """
    prepared, specification = trained.prepared, simulation.specification
    recipe, stages = prepared.recipe, ("float", trained.stage)
    record = chip_record(specification, simulation.inputs[:_STATE_RECORDINGS])
    return ReportData(
        recipe=recipe.name,
        title=recipe.title,
        chip=recipe.chip,
        seed=recipe.seed,
        seconds=0.0,
        classes=prepared.classes,
        labels=prepared.test_labels,
        predictions={
            **{stage: trained.predictions(stage) for stage in stages},
            "chip": simulation.predictions,
        },
        accuracy={**{stage: trained.accuracy(stage) for stage in stages}, "chip": simulation.accuracy},
        history=tuple(EpochRecord(e.stage, e.epoch, e.loss, e.train_accuracy) for e in trained.history),
        sample=_sample(trained, simulation),
        weight_histograms=_weight_histograms(specification),
        state_histograms=_state_histograms(specification, record),
        shift_curve=tuple(
            ShiftPoint(int(p["shift"]), float(p["accuracy"]), int(p["saturations"]))
            for p in table["shift_curve"]
        ),
        resources=tuple(Resource(**resource) for resource in table["resources"]),
        timing=_timing(specification, simulation, record),
        deployment=tuple(_deployment_row(layer) for layer in table["layers"]),
        divergence=validation.divergence,
        exactness=validation.exactness,
        versions=_versions(),
        compared_samples=validation.compared,
        shift_chosen=_common_shift(table["weight_shifts"]),
        notes=(
            *table["notes"],
            *_shift_notes(table["weight_shifts"]),
            f"The histograms of states, and the cycles, are those of the first {len(record['Spikes'])} test "
            "recordings.",
        ),
    )


def _sample(trained: Trained, simulation: Simulation) -> SampleTrace:
    """The first recording that the chip names rightly; the first of all where it names none."""
    index = int(np.argmax(simulation.predictions == trained.prepared.test_labels))
    inputs = simulation.inputs[index]
    chip_hidden = chip_record(simulation.specification, inputs[None])["Spikes"][0]
    if trained.is_exact:
        delay, recorded = 0, net_record(trained.tuned_net, inputs[None])
        net = {"hidden": recorded["Spikes"][0], "output": recorded["Spikes_out"][0]}
    else:
        delay = simulation.delay
        net = net_events(trained.tuned_net, simulation.specification, trained.prepared.test_events[index])
        chip_hidden = hidden_in_net_time(trained.tuned_net, simulation.specification, chip_hidden)
    return SampleTrace(
        index=index,
        label=int(trained.prepared.test_labels[index]),
        input=trained.prepared.test_events[index],
        net_hidden=net["hidden"],
        chip_hidden=chip_hidden,
        net_output=net["output"],
        chip_output=simulation.outputs[index],
        delay=delay,
    )


def _weight_histograms(specification: Specification) -> tuple[Histogram, ...]:
    limit = get_chip(specification.chip).max_weight
    edges = np.linspace(-limit - 1, limit + 1, _BINS + 1)
    found = []
    for key, name in (("in", "input weights"), ("rec", "recurrent weights"), ("out", "output weights")):
        weights = getattr(specification, f"weights_{key}")
        used = weights[weights != 0].astype(np.int64)
        if used.size:
            counts, _ = np.histogram(used, edges)
            at_limit = int((np.abs(used) >= limit).sum())
            found.append(Histogram(name, edges, counts, float(-limit), float(limit), at_limit))
    return tuple(found)


def _state_histograms(
    specification: Specification, record: Mapping[str, np.ndarray]
) -> tuple[Histogram, ...]:
    limit = get_chip(specification.chip).max_state
    found = []
    for key, name in _STATE_NAMES.items():
        if key not in record:
            continue
        states = record[key].astype(np.int64).ravel()
        low, high = int(states.min()), int(states.max())
        edges = np.linspace(low - 0.5, high + 0.5, _BINS + 1)
        counts, _ = np.histogram(states, edges)
        saturated = int(((states >= limit) | (states < -limit)).sum())
        found.append(Histogram(name, edges, counts, float(-limit - 1), float(limit), saturated))
    return tuple(found)


def _timing(specification: Specification, simulation: Simulation, record: Mapping[str, np.ndarray]) -> Timing:
    inputs, hidden = simulation.inputs[: len(record["Spikes"])], record["Spikes"]
    cycles = count_cycles(specification, inputs, hidden).total
    power = estimate_power(specification, input_sp=inputs, hidden_sp=hidden)
    return Timing(
        cycles_per_step=cycles,
        clock_hz=est_clock_freq(specification),
        power_w=power.watts,
        explanation=(
            "Cycles at the activity of test recordings; the clock keeps up even if every neuron fires in "
            f"every step, with a margin of 20 %. {power.explanation}"
        ),
        dt=specification.dt,
    )


def _deployment_row(layer: Mapping[str, Any]) -> DeploymentRow:
    return DeploymentRow(
        layer=str(layer["path"]),
        weight_error=float(layer["weight_error"]),
        tau_error=max(float(layer["tau_mem_error"]), float(layer["tau_syn_error"])),
        clipped_events=int(layer["clipped_events"]),
        saturations=int(layer["saturations"]),
    )


def _common_shift(shifts: list[int]) -> int | None:
    return shifts[0] if len(set(shifts)) == 1 else None


def _shift_notes(shifts: list[int]) -> tuple[str, ...]:
    chosen = (
        "Weight shifts are chosen on training recordings; the curve shows the float net's accuracy on them."
    )
    if _common_shift(shifts) is not None:
        return (chosen,)
    told = ", ".join(f"{shift} for {name} weights" for shift, name in zip(shifts, _SHIFTED, strict=True))
    return (f"{chosen} It gives all weights one shift; deployed are {told}.",)


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "numba", "safetensors")
    return {
        "snnkit": snnkit.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
