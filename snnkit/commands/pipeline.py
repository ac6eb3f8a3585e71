"""``snnkit run`` and its steps: they call :mod:`snnkit.recipes.stages` and print what came of it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from snnkit.commands.folders import Choice, choose, existing_run, interruptible
from snnkit.commands.progress import TerminalProgress
from snnkit.commands.summary import (
    exactness_text,
    report_line,
    run_as_json,
    run_summary,
)
from snnkit.commands.terminal import grid, print_json, show, show_whole
from snnkit.recipes import stages
from snnkit.recipes.metrics_file import read_metrics
from snnkit.recipes.run_folder import RunFolder
from snnkit.report import words
from snnkit.report.stages import STAGES
from snnkit.utilities.backends import find_part
from snnkit.utilities.errors import MissingDependencyError

if TYPE_CHECKING:
    from snnkit.recipes.validation import Validation

__all__ = ["quoted", "run", "step", "tell", "train"]


def run(choice: Choice, *, as_json: bool) -> int:
    """Do the whole pipeline and print its summary."""
    _require_report_parts()
    recipe, folder = choose(choice)
    with interruptible(folder, _again("run", folder)), TerminalProgress() as progress:
        data = stages.run(recipe, folder, resume=choice.resume, progress=progress)
    if as_json:
        print_json(run_as_json(data, folder.path, folder.report))
    else:
        show(run_summary(data))
        show_whole(report_line(folder.report))
    return 0


def train(choice: Choice, *, as_json: bool) -> int:
    """Train the float net and print its accuracy."""
    recipe, folder = choose(choice)
    with interruptible(folder, _again("train", folder)), TerminalProgress() as progress:
        stages.train(recipe, folder, resume=choice.resume, progress=progress)
    return tell(folder, [folder.float_net], "finetune", as_json)


def _require_report_parts() -> None:
    """Refuse now rather than after the training."""
    missing = [name for name in ("matplotlib", "jinja2") if find_part(name).state == "missing"]
    if missing:
        raise MissingDependencyError(
            f'The report at the end of a run needs {" and ".join(missing)}: pip install "snnkit[report]". '
            "Without them the steps work, up to the report: snnkit train, finetune, deploy, simulate, "
            "validate."
        )


@dataclass(frozen=True)
class _Step:
    """One stage that works on a run's folder: what it calls, writes and tells, and what comes next."""

    stage: Callable[..., Any]
    files: Callable[[RunFolder], Sequence[Path]]
    following: str | None
    told: Callable[[Any], str] = lambda _: ""
    table: Callable[[Any], Mapping[str, Any]] | None = None
    """What ``--json`` tells beside files and metrics."""


def _validation_told(validation: "Validation") -> str:
    lines = [
        f"{validation.compared} recordings compared; net and chip give the same class to "
        f"{words.percent(validation.same_class)} of them.",
        "",
        str(validation.comparison),
    ]
    if validation.exactness is not None:
        lines.append(words.sentence(f"{exactness_text(validation.exactness)}."))
    return "\n".join(lines)


_STEPS = {
    "deploy": _Step(
        stages.deploy,
        lambda folder: [folder.specification, folder.deployment],
        "simulate",
        told=lambda deployment: str(deployment.report),
    ),
    "simulate": _Step(stages.simulate, lambda folder: [folder.vectors], "validate"),
    "validate": _Step(
        stages.validate,
        lambda folder: [folder.validation],
        "report",
        told=_validation_told,
        table=lambda validation: {"validation": validation.to_json()},
    ),
    "report": _Step(stages.report, lambda folder: [folder.report], None),
}


def step(name: str, run: Path | None, *, as_json: bool) -> int:
    """Do the step ``name`` on the named run, or on the newest."""
    folder, chosen = existing_run(run), _STEPS[name]
    with interruptible(folder, f"snnkit {name} {quoted(folder)}"), TerminalProgress() as progress:
        result = chosen.stage(folder, progress=progress)
    if not as_json and (told := chosen.told(result)):
        show(Text(f"{told}\n"))
    more = chosen.table(result) if chosen.table else {}
    return tell(folder, chosen.files(folder), chosen.following, as_json, more)


def tell(
    folder: RunFolder,
    files: Sequence[Path],
    following: str | None,
    as_json: bool,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Print the accuracies known so far, the files that were written, and the next step.

    ``more`` is what the JSON document has beside them.
    """
    metrics = read_metrics(folder)
    if as_json:
        print_json(
            {"folder": str(folder.path), "files": [str(path) for path in files], "metrics": metrics, **more}
        )
        return 0
    rows: list[tuple[str | Text, ...]] = [(f"[dim]{name}[/]", value) for name, value in _accuracies(metrics)]
    rows += [("[dim]wrote[/]", escape(str(path))) for path in files]
    if following:
        rows.append(("[dim]next[/]", escape(f"snnkit {following} {quoted(folder)}")))
    show(grid(rows, indent=0))
    return 0


def _accuracies(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = metrics.get("accuracy", {})
    return [
        (f"{stage.title.lower()} accuracy", words.percent(known[key]))
        for key, stage in STAGES.items()
        if key in known
    ]


def _again(command: str, folder: RunFolder) -> str:
    return f"snnkit {command} --resume --out {quoted(folder)}"


def quoted(folder: RunFolder) -> str:
    """Return the path of a run as a shell takes it."""
    return shlex.quote(str(folder.path))
