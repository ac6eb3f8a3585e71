"""What a run is doing, on stderr: a live view in a terminal, plain lines in a file or pipe."""

import time
from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from snnkit.commands.terminal import status
from snnkit.report.words import seconds

__all__ = ["TerminalProgress"]

_SECONDS_BETWEEN_LINES = 10.0


class TerminalProgress:
    """Shows stages as :class:`snnkit.recipes.progress.Progress` receives them; used in a ``with`` block."""

    def __init__(self) -> None:
        self._console = status()
        self._live = self._console.is_terminal
        self._view = Live(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            _Bar(bar_width=20, complete_style="cyan", finished_style="green"),
            _Count(),
            _Elapsed(),
            TextColumn("[dim]{task.fields[note]}[/]"),
            console=self._console,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._stage, self._total = "", 0
        self._began = self._told = 0.0

    def __enter__(self) -> Self:
        self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.stop()

    def start(self, stage: str, total: int | None = None) -> None:
        """Begin a stage."""
        self._stage, self._total = stage, total or 0
        self._began = self._told = time.monotonic()
        if self._live:
            self._task = self._view.add_task(escape(stage), total=total, note="", counted=bool(total))
        else:
            self._line(f"{stage} ...")

    def advance(self, done: int, note: str = "") -> None:
        """Show the number of finished steps."""
        if self._task is not None:
            self._view.update(self._task, completed=done, note=escape(note))
        elif time.monotonic() - self._told > _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            of = f" of {self._total}" if self._total else ""
            self._line(f"{self._stage}: {done}{of}{f', {note}' if note else ''}")

    def finish(self, note: str = "") -> None:
        """Mark the stage as done."""
        if self._task is not None:
            task = self._view.tasks[-1]
            total = task.total or 1
            self._view.update(self._task, total=total, completed=total, note=escape(note))
            self._view.stop_task(self._task)
            self._task = None
        else:
            took = seconds(time.monotonic() - self._began)
            self._line(f"{self._stage}: {note or 'done'} ({took})")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class _Bar(BarColumn):
    """A bar where there are steps to count, a pulse where a stage is at work without any."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        if task.finished and not task.fields["counted"]:
            return Text("")
        return super().render(task)


class _Count(MofNCompleteColumn):
    """``12/100`` where there are steps to count."""

    def render(self, task: Task) -> Text:
        if task.total is None or task.total <= 1:
            return Text("")
        return super().render(task)


class _Elapsed(TextColumn):
    """Time since the stage began."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        return Text(seconds(elapsed or 0.0), style="dim", justify="right")
