"""Compiling with Numba: kept on disk where a folder can be written, and told to the user when it takes long.

Nothing here imports Numba before a kernel is declared.
"""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["disk_cached", "told_if_slow"]


def disk_cached(
    options: Mapping[str, Any], *sources: ModuleType
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles an entry point, and keeps it on disk if any cache folder is writeable.

    Args:
        options: of ``numba.njit``.
        *sources: modules that the kernel is built from. Numba looks for changes in the kernel's own file
            only; the name of the cache entry watches these.
    """
    from numba import njit

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        content = b"".join(Path(str(module.__file__)).read_bytes() for module in sources)
        function.__qualname__ += "_" + hashlib.sha256(content).hexdigest()[:12]
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache folder is writeable
            return njit(**options)(function)

    return decorate


@contextmanager
def told_if_slow(what: str, patience: float = 1.5) -> Iterator[None]:
    """Tell on stderr that ``what`` is being compiled, if it takes longer than ``patience`` seconds.

    Loading from the cache takes a fraction of a second and is not worth a line.
    """
    started = time.perf_counter()
    told = threading.Event()

    def tell(text: str) -> None:
        from rich.console import Console

        told.set()
        Console(file=sys.stderr).print(text, style="dim")

    timer = threading.Timer(patience, tell, [f"Compiling the {what} (once for this machine) ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if told.is_set():
            tell(f"Compiled the {what} in {time.perf_counter() - started:.0f} s.")
