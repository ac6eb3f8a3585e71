"""``snnkit experiment NAME`` and the list: they call :mod:`snnkit.experiments` and print what came of it."""

import shlex
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from snnkit.commands.progress import TerminalProgress
from snnkit.commands.terminal import grid, print_json, show, show_whole, status
from snnkit.experiments.cluster import connected
from snnkit.experiments.experiment import Experiment
from snnkit.experiments.findings import Findings, Table
from snnkit.experiments.folder import ExperimentFolder
from snnkit.experiments.page import cell, check_table
from snnkit.experiments.registry import experiment_names, get_experiment
from snnkit.experiments.running import Order, parse_settings, run_in_folder
from snnkit.utilities.backends import require
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Choice", "list_all", "run"]

_INTERRUPTED = 130
_COMMANDS = ("run", "list", "plot", "unroll", "job")
_SUFFIXES = (".toml", ".yaml", ".yml")


@dataclass(frozen=True)
class Choice:
    """What the options of ``snnkit experiment NAME`` say."""

    name: str
    full: bool
    seed: int
    jobs: int
    cluster: str | None
    data: Path | None
    settings: tuple[str, ...]
    out: Path | None

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        words = ["snnkit", "experiment", self.name]
        words += ["--full"] if self.full else []
        words += ["--seed", str(self.seed)] if self.seed else []
        words += ["--jobs", str(self.jobs)] if self.jobs > 1 else []
        words += ["--cluster", self.cluster] if self.cluster else []
        words += ["--data", str(self.data)] if self.data else []
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--out", str(self.out)] if self.out else []
        return shlex.join(words)


def run(choice: Choice, *, as_json: bool) -> int:
    """Run an experiment and print its reading, tables and checks; 1 when a check fails."""
    require("matplotlib", "experiments", "Drawing figures")  # Now, not after the experiment.
    experiment = _experiment(choice.name)
    order = Order(
        experiment.name,
        "full" if choice.full else "quick",
        choice.seed,
        parse_settings(choice.settings),
        choice.out,
    )
    data = choice.data.absolute() if choice.data else None  # Workers of a cluster stand in other folders.
    with _interruptible(choice.again), _executor(choice) as executor, TerminalProgress() as progress:
        findings, folder = run_in_folder(
            experiment, order, data=data, jobs=choice.jobs, executor=executor, progress=progress
        )
    if as_json:
        print_json({"folder": str(folder.path), "passed": findings.passed, **findings.to_json()})
    else:
        _tell(experiment, findings, folder)
    return 0 if findings.passed else 1


def _experiment(name: str) -> "Experiment":
    if name in experiment_names():
        return get_experiment(name)
    if Path(name).suffix in _SUFFIXES:
        from snnkit.experiments.training.matrix_file import experiment_of_file

        return experiment_of_file(name)
    known = [*experiment_names(), *_COMMANDS]
    raise ConfigurationError(unknown_key_message("experiment or command", name, known))


@contextmanager
def _executor(choice: Choice) -> Iterator[Executor | None]:
    if choice.cluster is None:
        yield None
        return
    with connected(choice.cluster) as executor:
        yield executor


@contextmanager
def _interruptible(again: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        status().print(f"\nInterrupted. Continue with: {again}", markup=False, soft_wrap=True)
        raise typer.Exit(_INTERRUPTED) from None


def _tell(experiment: "Experiment", findings: Findings, folder: ExperimentFolder) -> None:
    show(f"[bold]{escape(experiment.title)}[/]", "", Text(findings.reading), "")
    for table in findings.tables:
        show(_grid(table), "")
    if findings.checks:
        show(_grid(check_table(findings.checks)), "")
    show_whole(f"[dim]page[/]  [bold]{escape(str(folder.page))}[/]")


def _grid(table: Table) -> Grid:
    shown = Grid(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in table.columns:
        shown.add_column(column, header_style="dim", overflow="fold")
    for row in table.rows:
        shown.add_row(*(_coloured(cell(value)) for value in row))
    return shown


def _coloured(text: str) -> Text:
    return Text(text, style={"holds": "green", "FAILS": "bold red"}.get(text, ""))


def list_all(*, as_json: bool) -> int:
    """List the experiments."""
    found = [get_experiment(name) for name in experiment_names()]
    if as_json:
        print_json([{"name": experiment.name, "title": experiment.title} for experiment in found])
        return 0
    rows: list[tuple[str | Text, ...]] = [(escape(e.name), escape(e.title)) for e in found]
    more = [
        ("", ""),
        ("[dim]run one[/]", "snnkit experiment NAME"),
        ("[dim]your own[/]", "snnkit experiment FILE.toml"),
    ]
    show(grid([*rows, *more], indent=0))
    return 0
