"""Printing: results to stdout, progress and errors to stderr, JSON for machines."""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

__all__ = ["bytes_text", "grid", "print_json", "results", "say_error", "show", "show_whole", "status"]

_PLAIN_WIDTH = 110


def _console(*, stderr: bool) -> Console:
    """Rich looks at the terminal; into a pipe or file it must not fold lines at 80 columns."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=False)


def results() -> Console:
    """Return the console for what was asked for."""
    return _console(stderr=False)


def status() -> Console:
    """Return the console for progress and complaints."""
    return _console(stderr=True)


def show(*renderables: RenderableType) -> None:
    """Print to stdout; files and pipes get no trailing blanks."""
    console = results()
    if console.is_terminal:
        console.print(*renderables, sep="\n")
        return
    with console.capture() as captured:
        console.print(*renderables, sep="\n")
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    sys.stdout.flush()


def show_whole(line: str) -> None:
    """Print one line of markup to stdout that is never folded or cut: a path must stay one to copy."""
    results().print(line, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    sys.stdout.flush()


def say_error(message: str) -> None:
    """Print ``Error: ...`` to stderr, as it is: brackets in a message are not markup."""
    status().print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)


def grid(rows: Iterable[tuple[str | Text, ...]], indent: int = 1) -> Table:
    """Return rows in columns without lines; the last column folds."""
    table = Table.grid(padding=(0, 2))
    listed = list(rows)
    table.add_column(width=indent)
    for index in range(max((len(row) for row in listed), default=0)):
        table.add_column(no_wrap=index == 0, overflow="fold")
    for row in listed:
        table.add_row("", *row)
    return table


def bytes_text(count: int) -> str:
    """``1.4 MB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
