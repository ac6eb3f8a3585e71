"""A bar on stderr while a board runs sample after sample."""

import sys
from collections.abc import Iterator

__all__ = ["counted"]


def counted(total: int, what: str, shown: bool | None) -> Iterator[int]:
    """Yield ``0 .. total-1`` with a progress bar on stderr.

    Args:
        total: number of samples.
        what: words beside the bar.
        shown: None shows it in a terminal, if there is more than one sample.
    """
    if shown is None:
        shown = total > 1 and sys.stderr.isatty()
    if not shown:
        yield from range(total)
        return
    from rich.console import Console
    from rich.progress import track

    # A terminal is left clean; a log keeps one line.
    transient = sys.stderr.isatty()
    yield from track(range(total), what, console=Console(file=sys.stderr), transient=transient)
