"""Stage ``validate``: does the chip do what the net does, and does the simulator do what the chip does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from snnkit.hw.xylo.reference import reference_run
from snnkit.recipes.activity import PopulationActivity, chip_record, populations_of
from snnkit.recipes.chip_stages import Simulation, load_program, simulate
from snnkit.recipes.progress import Progress
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import Trained, load_trained
from snnkit.report.data import Divergence
from snnkit.utilities.errors import ConfigurationError, FileFormatError, SnnkitError
from snnkit.utilities.files import read_json, write_json

__all__ = [
    "SimulatorError",
    "Validation",
    "first_difference",
    "read_validation",
    "validate_run",
    "validate_simulation",
]

_RECORDED_AT_ONCE = 32
_REFERENCE_RECORDINGS = 2


class SimulatorError(SnnkitError, RuntimeError):
    """The fast simulator and the readable one disagree: a fault of snnkit, never of a user."""


@dataclass(frozen=True)
class Validation:
    """How far net (after QAT) and chip agree on the test split.

    Attributes:
        compared: Recordings compared, event by event.
        same_class: Fraction of them to which both give the same class.
        same_events: By population, the fraction of neurons and steps with the same number of events.
        events: By population, the events of net and chip, in all.
        reference_recordings: Recordings on which the fast simulator equals the readable one in every state.
        divergence: The first step in which an event differs, or None.
    """

    compared: int
    same_class: float
    same_events: dict[str, float]
    events: dict[str, tuple[int, int]]
    reference_recordings: int
    divergence: Divergence | None


def validate_run(folder: RunFolder, progress: Progress) -> Validation:
    """Validate the program of a run; see :func:`validate_simulation`."""
    specification, table = load_program(folder)
    trained = load_trained(folder)
    simulation = simulate(trained.prepared, specification, int(table["delay"]))
    return validate_simulation(trained, simulation, table["population_delays"], folder, progress)


def validate_simulation(
    trained: Trained,
    simulation: Simulation,
    delays: Mapping[str, int],
    folder: RunFolder,
    progress: Progress,
) -> Validation:
    """Compare net and chip on the whole test split, and both simulators on some of it; write the result.

    Raises:
        SimulatorError: the simulators disagree.
    """
    count = len(simulation.inputs)
    progress.start("Validating against the trained net", count)
    checked = _check_simulator(simulation)
    same: dict[str, list[float]] = {}
    events: dict[str, tuple[int, int]] = {}
    firsts = []
    for start in range(0, count, _RECORDED_AT_ONCE):
        part = slice(start, start + _RECORDED_AT_ONCE)
        activity = populations_of(
            trained.qat_net,
            simulation.specification,
            delays,
            trained.prepared.test_events[part],
            simulation.inputs[part],
        )
        for a in activity:
            path = a.population.path
            same.setdefault(path, []).append(float((a.net_events == a.chip_events).mean(axis=(1, 2)).sum()))
            net, chip = events.get(path, (0, 0))
            events[path] = (net + int(a.net_events.sum()), chip + int(a.chip_events.sum()))
        found = first_difference(activity, start)
        firsts += [found] if found is not None else []
        progress.advance(min(start + _RECORDED_AT_ONCE, count))
    same_class = float((trained.predictions("qat") == simulation.predictions).mean())
    divergence = min(firsts, key=lambda d: (d.time, d.sample or 0), default=None)
    validation = Validation(
        compared=count,
        same_class=same_class,
        same_events={path: sum(values) / count for path, values in same.items()},
        events=events,
        reference_recordings=checked,
        divergence=divergence,
    )
    write_json(folder.validation, asdict(validation))
    agreement = ", ".join(f"{path} {value:.1%}" for path, value in validation.same_events.items())
    progress.finish(f"same class {same_class:.1%}; same events in every neuron and step: {agreement}")
    return validation


def _check_simulator(simulation: Simulation) -> int:
    """Hold the fast simulator to the readable reference, bit by bit, on the first recordings."""
    count = min(_REFERENCE_RECORDINGS, len(simulation.inputs))
    for i in range(count):
        reference, _, _ = reference_run(simulation.specification, simulation.inputs[i])
        fast = chip_record(simulation.specification, simulation.inputs[i : i + 1])
        wrong = [name for name in fast if not np.array_equal(fast[name][0], reference[name])]
        if wrong or not np.array_equal(reference["Spikes_out"], simulation.outputs[i]):
            raise SimulatorError(
                f"Test recording {i}: the fast simulator differs from the reference in "
                f"{', '.join(wrong or ['its output'])}. Please report this with the run's specification.json "
                "and vectors.safetensors."
            )
    return count


def first_difference(activity: Sequence[PopulationActivity], first_sample: int = 0) -> Divergence | None:
    """Return the earliest step in which a neuron's events differ; layers in order, then recordings.

    A difference spreads from layer to layer, so at the same step the earlier layer is where it began.
    """
    best: tuple[int, int, int, int] | None = None
    for layer, a in enumerate(activity):
        samples, times, neurons = np.nonzero(a.net_events != a.chip_events)
        if times.size:
            i = np.lexsort((neurons, samples, times))[0]
            key = (int(times[i]), layer, int(samples[i]), int(neurons[i]))
            best = key if best is None else min(best, key)
    if best is None:
        return None
    time, layer, sample, neuron = best
    a = activity[layer]
    place = (sample, time, neuron)
    return Divergence(
        time=time,
        layer=a.population.path,
        neuron=neuron,
        net_value=float(a.net_events[place]),
        chip_value=float(a.chip_events[place]),
        reason=_reason(a, place),
        sample=first_sample + sample,
    )


def _reason(a: PopulationActivity, place: tuple[int, int, int]) -> str:
    sample, time, neuron = place
    if a.saturated[sample, : time + 1, neuron].any():
        return "A state of this neuron stood at the end of its 16 bits on the chip."
    return (
        f"Rounding: before firing, the membrane stood at {a.net_level[place]:.6g} thresholds in the net and "
        f"at {a.chip_level[place]:.6g} on the chip, where states are whole numbers and decays round."
    )


def read_validation(folder: RunFolder) -> Validation:
    """Return what :func:`validate_simulation` wrote.

    Raises:
        ConfigurationError: the run was not validated yet.
        FileFormatError: the file is damaged.
    """
    if not folder.validation.is_file():
        raise ConfigurationError(
            f"{folder.path} is not validated yet. Do so with: snnkit validate {folder.path}"
        )
    table = read_json(folder.validation)
    try:
        divergence = table.pop("divergence")
        events = {path: (int(net), int(chip)) for path, (net, chip) in table.pop("events").items()}
        found = None if divergence is None else Divergence(**divergence)
        return Validation(**table, events=events, divergence=found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{folder.validation} does not hold a validation: {error}") from error
