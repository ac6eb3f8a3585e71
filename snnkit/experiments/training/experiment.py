"""What the experiments with training share: a matrix that comes with snnkit, its runs, boxes and checks."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from snnkit.experiments.experiment import Context, Experiment
from snnkit.experiments.findings import Check, Findings
from snnkit.experiments.matrix import Matrix, Record, Store, parse_matrix, read_table
from snnkit.experiments.training.comparison import Panel, panels_of, tuned_table
from snnkit.experiments.training.running import run_jobs
from snnkit.experiments.training.theory import displacement_check, invariance_check, learning_rate_check
from snnkit.recipes.schema import Limits
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TrainingSettings", "draw", "read_configuration", "run_matrix", "training_experiment"]

Reading = Callable[[Sequence[Panel], Sequence[int]], str]


@dataclass(frozen=True)
class TrainingSettings:
    """Which matrix, and what of it to change."""

    configuration: str
    """A configuration that comes with snnkit, or the path of a TOML or YAML file."""
    box_epochs: Annotated[tuple[int, ...], Limits(low=0)]
    """Epochs of the boxes."""
    runs: Annotated[int, Limits(low=0)] = 0
    """Runs of each combination in place of the file's; 0 leaves it."""
    epochs: Annotated[int, Limits(low=0)] = 0
    """Epochs in place of the file's; 0 leaves them. Boxes beyond are drawn at the last epoch."""


def read_configuration(settings: TrainingSettings) -> Matrix:
    """Return the matrix that the settings mean. Errors: as :func:`snnkit.experiments.matrix.read_matrix`."""
    folder = files("snnkit.experiments.training") / "configurations"
    names = [p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")]
    if settings.configuration in names:
        text = (folder / f"{settings.configuration}.toml").read_text(encoding="utf-8")
        table = tomllib.loads(text)
    elif Path(settings.configuration).is_file():
        table = read_table(settings.configuration)
    else:
        complaint = unknown_key_message("configuration", settings.configuration, names)
        raise ConfigurationError(f"{complaint} A path of a TOML or YAML file works too.")
    return parse_matrix(_changed(table, settings), settings.configuration)


def _changed(table: Any, settings: TrainingSettings) -> Any:
    if not isinstance(table, dict):
        return table  # The parser says what is wrong with it.
    if settings.runs:
        table = table | {"runs_per_config": settings.runs}
    if settings.epochs and isinstance(table.get("training_params"), dict):
        table = table | {"training_params": table["training_params"] | {"epochs": settings.epochs}}
    return table


def run_matrix(matrix: Matrix, context: Context) -> list[Record]:
    """Run what is left of a matrix in the experiment's folder."""
    return run_jobs(
        matrix.jobs(context.seed),
        Store(context.folder),
        data=context.data,
        processes=context.jobs,
        executor=context.executor,
        progress=context.progress,
    )


def training_experiment(
    name: str,
    title: str,
    reading: Reading,
    *,
    panel_by: Sequence[str] = ("dataset", "model"),
    quick_epochs: Sequence[int],
    full_epochs: Sequence[int] = (30, 60, 95),
) -> Experiment[TrainingSettings]:
    """Return the experiment whose matrices are the configurations ``NAME`` and ``NAME-full``.

    Args:
        name: Of the experiment.
        title: One line of the list.
        reading: Writes the reading from panels and box epochs.
        panel_by: Fields of the jobs that have panels of their own.
        quick_epochs: Epochs of the boxes, quick size.
        full_epochs: Epochs of the boxes, full size.
    """
    return Experiment(
        name=name,
        title=title,
        quick=TrainingSettings(name, tuple(quick_epochs)),
        full=TrainingSettings(f"{name}-full", tuple(full_epochs)),
        run=partial(_run, reading, tuple(panel_by)),
        draw=draw,
        keeps_parts=True,
    )


def _run(
    reading: Reading, panel_by: tuple[str, ...], settings: TrainingSettings, context: Context
) -> Findings:
    matrix = read_configuration(settings)
    records = run_matrix(matrix, context)
    last = max(len(record.result["curves"]["lr"]) for record in records) - 1
    epochs = sorted({min(epoch, last) for epoch in settings.box_epochs})
    panels = panels_of(records, panel_by, epochs)
    checks: list[Check | None] = [
        learning_rate_check(context.generator("learning-rate check")),
        invariance_check(records),
        displacement_check(records),
    ]
    return Findings(
        reading=reading(panels, epochs),
        data={"panels": [panel.to_json() for panel in panels], "runs": matrix.runs_per_config},
        tables=(tuned_table(panels),),
        checks=tuple(check for check in checks if check is not None),
    )


def draw(findings: Findings) -> dict[str, "Figure"]:
    """Draw boxes at chosen epochs, and the accuracy at the end over the learning rate."""
    from snnkit.experiments.training.figures import boxes, lines, over_rates, panels

    of_panels = findings.data["panels"]
    order = list(dict.fromkeys(label for panel in of_panels for label in panel["boxes"]))
    figure, axes = panels(len(of_panels), order, of_boxes=True)
    for place, panel in zip(axes, of_panels, strict=True):
        series = {
            label: {int(epoch): _percent(values) for epoch, values in of_epochs.items()}
            for label, of_epochs in panel["boxes"].items()
        }
        boxes(place, series, order).set(title=panel["title"], xlabel="epoch", ylabel="validation accuracy, %")
    rates, axes = panels(len(of_panels), order)
    for place, panel in zip(axes, of_panels, strict=True):
        curves = {
            label: (x, _percent(mean), _percent(error)) for label, (x, mean, error) in panel["rates"].items()
        }
        lines(place, curves, order, markers=True).set(title=panel["title"], ylabel="validation accuracy, %")
        over_rates(place, sorted({rate for x, _, _ in curves.values() for rate in x}))
    return {"boxes": figure, "learning-rates": rates}


def _percent(values: Sequence[float]) -> list[float]:
    return [100 * value for value in values]
