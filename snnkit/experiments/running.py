"""Runs an experiment from its name to its folder of findings, figures and page."""

import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnkit.experiments.experiment import Context, Experiment, Size
from snnkit.experiments.figure_files import write_figure
from snnkit.experiments.findings import Findings, to_plain
from snnkit.experiments.folder import ExperimentFolder
from snnkit.experiments.page import page
from snnkit.experiments.registry import get_experiment
from snnkit.recipes.progress import Progress, Silent
from snnkit.recipes.schema import build
from snnkit.recipes.toml import as_table
from snnkit.report.style import drawing
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Order", "begin", "draw_figures", "parse_settings", "run_experiment", "run_in_folder"]


@dataclass(frozen=True)
class Order:
    """What is asked for: which experiment, how large, and with which settings replaced."""

    name: str
    size: Size = "quick"
    seed: int = 0
    settings: Mapping[str, Any] | None = None
    """Fields of the settings that replace those of the size, by dotted key."""
    out: Path | None = None
    """Folder; ``experiments/NAME-SIZE-seedN`` where it is None."""

    @property
    def folder(self) -> ExperimentFolder:
        """Where it goes."""
        return ExperimentFolder(self.out or Path("experiments") / f"{self.name}-{self.size}-seed{self.seed}")


def run_experiment(
    order: Order,
    *,
    data: Path | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[Findings, ExperimentFolder]:
    """Run an experiment, or what is left of it, and write its folder.

    A folder whose experiment is finished is not computed again: its figures and page are made anew.

    Args:
        order: What to run.
        data: Folder of the user's data sets.
        jobs: Local processes.
        executor: In place of local processes: anything with ``submit``, such as
            ``dask.distributed.Client(address).get_executor()``.
        progress: Who is told what goes on.

    Raises:
        ConfigurationError: unknown experiment or setting, a value out of range, or the folder holds
            something else.
    """
    experiment = get_experiment(order.name)
    return run_in_folder(
        experiment, order, data=data, jobs=jobs, executor=executor, progress=progress or Silent()
    )


def run_in_folder(
    experiment: Experiment[Any],
    order: Order,
    *,
    data: Path | None,
    jobs: int,
    executor: Executor | None,
    progress: Progress,
) -> tuple[Findings, ExperimentFolder]:
    """Do :func:`run_experiment` for an experiment that need not be in the registry."""
    settings, folder = begin(experiment, order)
    findings = None if experiment.keeps_parts else folder.findings()
    if findings is None:
        context = Context(order.seed, folder.path, data, jobs, executor, progress)
        findings = experiment.run(settings, context)
        folder.write_findings(findings)
    names = draw_figures(experiment, findings, folder)
    folder.write_page(page(experiment.title, folder.begun_with(), findings, names))
    return findings, folder


def begin(experiment: Experiment[Any], order: Order) -> tuple[Any, ExperimentFolder]:
    """Begin the folder of an order, or go on with it; return the checked settings and the folder."""
    settings = _with(experiment.settings(order.size), order.settings or {}, f"Experiment {order.name}")
    order.folder.begin(order.name, order.seed, to_plain(as_table(settings)))
    return settings, order.folder


def draw_figures(experiment: Experiment[Any], findings: Findings, folder: ExperimentFolder) -> list[str]:
    """Write the figures as SVG and return their paths relative to the folder."""
    names = []
    with drawing():
        for name, figure in experiment.draw(findings).items():
            path = write_figure(figure, folder.figures / f"{name}.svg")
            names.append(f"figures/{path.name}")
    return names


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn ``["draws=5", "model.width=8"]`` into a table; values are TOML, or texts where they are not.

    Raises:
        ConfigurationError: one of them is no assignment.
    """
    table: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key.strip():
            raise ConfigurationError(f"--set {assignment!r} is not KEY=VALUE.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        table[key.strip()] = value
    return table


def _with(settings: Any, replaced: Mapping[str, Any], source: str) -> Any:
    table = as_table(settings)
    for key, value in replaced.items():
        *parents, last = key.split(".")
        inner = table
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigurationError(f"{source}: {key} cannot be set; {parent} is not a table.")
        inner[last] = value
    return build(type(settings), table, source)
