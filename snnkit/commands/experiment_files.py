"""``snnkit experiment plot``, ``unroll`` and ``job``: results and jobs as files."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from snnkit.commands.terminal import grid, print_json, show, show_whole
from snnkit.experiments.matrix import Job, Store, read_matrix
from snnkit.experiments.running import Order, begin
from snnkit.experiments.training.job import Assignment, run_job
from snnkit.experiments.training.matrix_file import experiment_of_file
from snnkit.experiments.training.plotting import Plot, draw_plots
from snnkit.utilities.backends import require
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.files import read_json

__all__ = ["PlotChoice", "job", "plot", "unroll"]


@dataclass(frozen=True)
class PlotChoice:
    """What the options of ``snnkit experiment plot`` say."""

    folder: Path
    metrics: str
    group_by: str
    panel_by: str
    boxplot: bool
    box_epochs: str
    out: Path | None


def plot(choice: PlotChoice, *, as_json: bool) -> int:
    """Draw results of a folder."""
    require("matplotlib", "experiments", "Drawing figures")
    store = Store(choice.folder)
    wanted = Plot(
        _listed(choice.metrics), _listed(choice.group_by), _listed(choice.panel_by), _epochs(choice, store)
    )
    files = draw_plots(store, wanted, choice.out or choice.folder / "plots")
    if as_json:
        print_json({"files": [str(path) for path in files]})
    else:
        for path in files:
            show_whole(f"[dim]wrote[/]  {escape(str(path))}")
    return 0


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace(" ", ",").split(",") if part.strip())


def _epochs(choice: PlotChoice, store: Store) -> tuple[int, ...]:
    if not choice.boxplot and not choice.box_epochs:
        return ()
    if choice.box_epochs:
        try:
            return tuple(int(epoch) for epoch in _listed(choice.box_epochs))
        except ValueError:
            raise ConfigurationError(f"--box-epochs {choice.box_epochs} are not whole numbers.") from None
    last = min(len(record.result["curves"]["lr"]) for record in store.records()) - 1
    return tuple(sorted({max(1, last // 3), max(1, 2 * last // 3), last}))


def unroll(configuration: Path, out: Path, seed: int, *, as_json: bool) -> int:
    """Write the jobs of a matrix into the folder of its experiment, which gathers the results."""
    store = Store(out)
    jobs = read_matrix(configuration).jobs(seed)
    experiment = experiment_of_file(configuration)
    begin(experiment, Order(experiment.name, seed=seed, out=out))
    files = store.write_jobs(jobs)
    left = len(store.unfinished(jobs))
    if as_json:
        print_json({"folder": str(out), "jobs": [str(path) for path in files], "unfinished": left})
        return 0
    rows = [("[dim]wrote[/]", f"{len(files)} jobs into {escape(str(out / 'jobs'))}, {left} without a result")]
    rows.append(("[dim]run one[/]", f"snnkit experiment job {escape(str(files[0]))}"))
    again = ["snnkit", "experiment", str(configuration), *(["--seed", str(seed)] if seed else [])]
    rows.append(("[dim]gather[/]", escape(shlex.join([*again, "--out", str(out)]))))
    show(grid(rows, indent=0))
    return 0


def job(file: Path, data: Path | None, *, as_json: bool) -> int:
    """Run the job in ``DIR/jobs/NAME.json`` into ``DIR/results``."""
    read = Job.from_table(read_json(file), str(file))
    store = Store(file.absolute().parent.parent)
    if not store.result_file(read).exists():
        store.write_result(read, run_job(Assignment(read, data)))
    result = store.record(read).result
    if as_json:
        print_json({"file": str(store.result_file(read)), "job": read.name, "result": result})
    else:
        rows = [("[dim]test accuracy[/]", f"{result['test_accuracy']:.2%}")]
        rows.append(("[dim]wrote[/]", escape(str(store.result_file(read)))))
        show(grid(rows, indent=0))
    return 0
