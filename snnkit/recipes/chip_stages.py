"""Stages on the chip's side: check, deploy, simulate, validate. All of them are exact integer arithmetic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.hw.xylo.deployment.deploy import Deployment
from snnkit.hw.xylo.deployment.deploy import deploy as deploy_net
from snnkit.hw.xylo.mapping.check import CheckReport
from snnkit.hw.xylo.mapping.check import check as check_net
from snnkit.hw.xylo.simulator.counters import Counters
from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Specification
from snnkit.hw.xylo.validation.vectors import make_vectors
from snnkit.recipes.deployment_file import not_deployed, read_deployment, write_deployment
from snnkit.recipes.finetune_stage import Trained, load_trained
from snnkit.recipes.metrics_file import update_metrics
from snnkit.recipes.prepare import Prepared, prepare
from snnkit.recipes.progress import Progress
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import load_float, untrained_network
from snnkit.training.metrics import accuracy

__all__ = [
    "Simulation",
    "check_run",
    "deploy_run",
    "deploy_trained",
    "load_program",
    "simulate",
    "simulate_program",
    "simulate_run",
]


@dataclass(frozen=True, eq=False)
class Simulation:
    """The test split on the chip.

    Attributes:
        specification: The program.
        delay: Time steps by which the chip's outputs lag the float net's: one for each hop.
        inputs: Events given, ``(recordings, time + delay, channels)`` uint8: the last ``delay`` empty.
        outputs: Events that came, ``(recordings, time + delay, outputs)`` uint8, as the chip times them.
        predictions: ``(recordings,)`` classes.
        accuracy: Fraction of the test split.
        counters: Saturations, clipped events, synaptic operations.
    """

    specification: Specification
    delay: int
    inputs: np.ndarray
    outputs: np.ndarray
    predictions: np.ndarray
    accuracy: float
    counters: Counters


def check_run(target: RunFolder | Recipe, chip: str | None) -> CheckReport:
    """Check the net of a run, or the net that a recipe would train, against a chip."""
    if isinstance(target, RunFolder):
        trained = target.float_net.is_file()
        net = load_float(target).net if trained else untrained_network(prepare(target.recipe()))
        return check_net(net, chip or target.recipe().chip)
    return check_net(untrained_network(prepare(target)), chip or target.chip)


def deploy_run(folder: RunFolder, progress: Progress) -> Deployment:
    """Deploy the net of a run; see :func:`deploy_trained`."""
    return deploy_trained(load_trained(folder), folder, progress)


def deploy_trained(trained: Trained, folder: RunFolder, progress: Progress) -> Deployment:
    """Make the program of the fine-tuned net and write the specification and what it cost.

    A chip-exact net holds the program already; another is mapped and quantised, or its integers are searched
    (``deploy.method``). That, and observing state ranges, uses training recordings; the test split is not
    touched.
    """
    prepared = trained.prepared
    searches = prepared.recipe.searches_orbit
    progress.start(f"Deploying to {prepared.chip.title}", 100 if searches else None)
    deployment = deploy_net(
        trained.tuned_net,
        prepared.chip,
        calibration=prepared.calibration_events(),
        labels=prepared.calibration_labels(),
        readout=prepared.readout.predict,
        method=prepared.recipe.deploy.method,
        on_progress=_percent(progress),
    )
    deployment.specification.save(folder.specification)
    write_deployment(folder, deployment, delay=trained.lag, shift_curve=trained.shift_curve)
    report = deployment.report
    progress.finish(
        f"{deployment.specification.n_hidden} hidden neurons, weight shifts "
        f"{', '.join(map(str, report.weight_shifts))}, {report.saturations} saturations in calibration"
    )
    return deployment


def _percent(progress: Progress) -> Callable[[str, int, int], None]:
    """Return what shows a search as hundredths of the part that it is at."""

    def told(what: str, done: int, total: int) -> None:
        progress.advance(round(100 * done / total), f"{what} {done}/{total}")

    return told


def load_program(folder: RunFolder) -> tuple[Specification, Mapping[str, Any]]:
    """Return the specification of a run and what is known of its deployment."""
    if not folder.specification.is_file():
        raise not_deployed(folder)
    specification = Specification.load(folder.specification)
    return specification, read_deployment(folder, specification)


def simulate_run(folder: RunFolder, progress: Progress) -> Simulation:
    """Simulate the program of a run on its test split; see :func:`simulate_program`."""
    specification, table = load_program(folder)
    return simulate_program(prepare(folder.recipe()), specification, int(table["delay"]), folder, progress)


def simulate_program(
    prepared: Prepared, specification: Specification, delay: int, folder: RunFolder, progress: Progress
) -> Simulation:
    """Run the whole test split through the bit-exact simulator; write vectors and the chip's accuracy."""
    progress.start("Simulating the test split")
    simulation = simulate(prepared, specification, delay)
    make_vectors(specification, simulation.inputs, folder.vectors)
    update_metrics(folder, prepared.recipe, accuracy={"chip": simulation.accuracy})
    right = int((simulation.predictions == prepared.test_labels).sum())
    progress.finish(f"{right} of {len(prepared.test_labels)} right on the chip")
    return simulation


def simulate(prepared: Prepared, specification: Specification, delay: int) -> Simulation:
    """Run the test split through the simulator, and write nothing."""
    inputs = np.pad(prepared.test_events, ((0, 0), (0, delay), (0, 0)))
    simulator = XyloSim(specification)
    outputs = simulator(inputs)[0].astype(np.uint8)
    predictions = prepared.readout.predict(outputs[:, delay:])
    return Simulation(
        specification=specification,
        delay=delay,
        inputs=inputs,
        outputs=outputs,
        predictions=predictions,
        accuracy=accuracy(predictions, prepared.test_labels),
        counters=simulator.counters,
    )
