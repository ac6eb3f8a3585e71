"""All stages in a row, and the stage ``report``."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnkit.recipes.chip_stages import (
    Simulation,
    deploy_trained,
    load_program,
    simulate,
    simulate_program,
)
from snnkit.recipes.deployment_file import read_deployment
from snnkit.recipes.finetune_stage import Trained, finetune_trained, load_trained
from snnkit.recipes.metrics_file import record_seconds, timed
from snnkit.recipes.progress import Progress
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import train_float
from snnkit.recipes.validation import Validation, read_validation, validate_program
from snnkit.utilities.files import write_text

if TYPE_CHECKING:
    from snnkit.report.data import ReportData

__all__ = ["report_run", "run_all"]


def run_all(
    recipe: Recipe, folder: RunFolder, resume: bool, progress: Progress, started: float
) -> "ReportData":
    """Do every stage; see :func:`snnkit.recipes.stages.run`. ``started``: ``time.monotonic()`` by then."""
    with timed(folder, "train", started=started, more=resume):
        float_trained = train_float(recipe, folder, resume, progress)
    with timed(folder, "finetune", more=resume):
        trained = finetune_trained(float_trained, folder, progress)
    with timed(folder, "deploy"):
        deployment = deploy_trained(trained, folder, progress)
    prepared, specification = trained.prepared, deployment.specification
    with timed(folder, "simulate"):
        simulation = simulate_program(prepared, specification, trained.lag, folder, progress)
    with timed(folder, "validate"):
        validation = validate_program(trained, specification, folder, progress)
    table = read_deployment(folder, specification)
    started = time.monotonic()
    return _write_report(
        trained, simulation, validation, table, folder=folder, progress=progress, started=started
    )


def report_run(folder: RunFolder, progress: Progress, started: float) -> Path:
    """Write the report of a run that was validated; see :func:`snnkit.recipes.stages.report`."""
    specification, table = load_program(folder)
    validation = read_validation(folder)
    trained = load_trained(folder)
    simulation = simulate(trained.prepared, specification, int(table["delay"]))
    _write_report(trained, simulation, validation, table, folder=folder, progress=progress, started=started)
    return folder.report


def _write_report(
    trained: Trained,
    simulation: Simulation,
    validation: Validation,
    table: Mapping[str, Any],
    *,
    folder: RunFolder,
    progress: Progress,
    started: float,
) -> "ReportData":
    from snnkit.recipes.summary import report_data
    from snnkit.recipes.xylo_files import device_run
    from snnkit.report import draw, render

    progress.start("Writing the report")
    data = replace(report_data(trained, simulation, validation, table), device=device_run(folder))
    drawings = draw(data)
    seconds = record_seconds(folder, "report", time.monotonic() - started)
    data = replace(data, seconds=seconds)  # The page tells the time that drawing it took, too.
    data.save(folder.path)
    write_text(folder.report, render(data, drawings))
    progress.finish(str(folder.report))
    return data
