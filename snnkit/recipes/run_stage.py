"""All stages in a row, and the stage ``report``."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnkit.recipes.chip_stages import (
    Simulation,
    deploy_trained,
    load_program,
    read_deployment,
    simulate,
    simulate_program,
)
from snnkit.recipes.metrics_file import read_metrics, update_metrics
from snnkit.recipes.progress import Progress
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import Trained, load_trained, train_nets
from snnkit.recipes.validation import Validation, read_validation, validate_program
from snnkit.utilities.files import write_text

if TYPE_CHECKING:
    from snnkit.report.data import ReportData

__all__ = ["report_run", "run_all"]


def run_all(recipe: Recipe, folder: RunFolder, resume: bool, progress: Progress) -> "ReportData":
    """Do every stage; see :func:`snnkit.recipes.stages.run`."""
    started = time.monotonic()
    earlier = float(read_metrics(folder).get("seconds", 0.0)) if resume else 0.0
    trained = train_nets(recipe, folder, resume, progress)
    update_metrics(folder, recipe, seconds=earlier + time.monotonic() - started)
    deployment = deploy_trained(trained, folder, progress)
    prepared, specification = trained.prepared, deployment.specification
    simulation = simulate_program(prepared, specification, deployment.delay, folder, progress)
    table = read_deployment(folder, specification)
    validation = validate_program(trained, specification, folder, progress)
    update_metrics(folder, recipe, seconds=earlier + time.monotonic() - started)
    return _write_report(trained, simulation, validation, table, folder=folder, progress=progress)


def report_run(folder: RunFolder, progress: Progress) -> Path:
    """Write the report of a run that was validated; see :func:`snnkit.recipes.stages.report`."""
    specification, table = load_program(folder)
    validation = read_validation(folder)
    trained = load_trained(folder)
    simulation = simulate(trained.prepared, specification, int(table["delay"]))
    _write_report(trained, simulation, validation, table, folder=folder, progress=progress)
    return folder.report


def _write_report(
    trained: Trained,
    simulation: Simulation,
    validation: Validation,
    table: Mapping[str, Any],
    *,
    folder: RunFolder,
    progress: Progress,
) -> "ReportData":
    from snnkit.recipes.summary import report_data
    from snnkit.report import render

    progress.start("Writing the report")
    seconds = float(read_metrics(folder).get("seconds", 0.0))
    data = report_data(trained, simulation, validation, table, seconds)
    data.save(folder.path)
    write_text(folder.report, render(data))
    progress.finish(str(folder.report))
    return data
