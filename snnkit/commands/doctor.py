"""``snnkit doctor``: what is installed, what works, and what to do about the rest."""

import os
import platform
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

import snnkit
from snnkit.commands.terminal import bytes_text, grid, print_json, show
from snnkit.utilities.backends import (
    NumbaCache,
    Part,
    Samna,
    core_parts,
    find_samna,
    numba_cache,
    optional_parts,
)

if TYPE_CHECKING:
    from snnkit.hw.sessions.inspection import BoardState

__all__ = ["Findings", "doctor", "examine"]

_SESSIONS = {
    "sim:imu": "the bit-exact simulator",
    "fake:imu": "an imitated board, which takes the way of a real one",
    "replay:FILE.xrec": "a recorded session",
    "samna:": "a board",
}

_MARKS = {"ok": "[green]✓[/]", "missing": "[dim]○[/]", "old": "[yellow]![/]", "broken": "[red]✗[/]"}


@dataclass(frozen=True)
class Findings:
    """Everything ``snnkit doctor`` found."""

    snnkit: str
    location: str
    python: str
    platform: str
    core: tuple[Part, ...]
    optional: tuple[Part, ...]
    samna: Samna
    threads: dict[str, int | str | None]
    cache: NumbaCache
    sessions: dict[str, str]
    boards: "tuple[BoardState, ...] | None"
    """None unless they were asked for: to list them, the vendor's driver must be imported."""

    @property
    def ok(self) -> bool:
        """True when all that the core needs is there and works."""
        return all(part.state == "ok" for part in self.core)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain JSON values."""
        return {"ok": self.ok, **asdict(self), "samna": {**asdict(self.samna), "usable": self.samna.usable}}


def examine(*, boards: bool = False) -> Findings:
    """Look at this installation. The core's packages are imported, the optional ones are only found.

    Args:
        boards: also look at the boards, for which the vendor's driver is imported.
    """
    samna = find_samna()
    package = Path(snnkit.__file__).parent
    return Findings(
        snnkit=snnkit.__version__,
        location=str(package),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        core=tuple(_try(part) for part in core_parts()),
        optional=optional_parts(),
        samna=samna,
        threads=_threads(),
        cache=numba_cache([package, *_folders_outside()]),
        sessions=_sessions(samna),
        boards=_boards() if boards else None,
    )


def _sessions(samna: Samna) -> dict[str, str]:
    """Return what can be connected to on this machine, and what it is."""
    return _SESSIONS if samna.usable else _SESSIONS | {"samna:": "a board, once the vendor's samna is there"}


def _boards() -> "tuple[BoardState, ...]":
    from snnkit.hw.sessions.inspection import inspect_boards  # needs the core, which may be what is broken

    return tuple(inspect_boards())


def _folders_outside() -> list[Path]:
    """In an editable install ``snnkit.hw`` lies beside ``snnkit``, not in it."""
    spec = find_spec("snnkit.hw")
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]


def _try(part: Part) -> Part:
    """Import a core package: one that is there may still not start (numba and numpy often disagree)."""
    if part.state != "ok":
        return part
    try:
        import_module(part.name)
    except Exception as error:  # whatever it is, it is a finding
        advice = f"It does not start: {error}. Try: pip install --upgrade --force-reinstall {part.name}"
        return replace(part, state="broken", advice=advice)
    return part


def _threads() -> dict[str, int | str | None]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads: dict[str, int | str | None] = {"cores": cores}
    for name, module, read in (
        ("torch", "torch", lambda torch: torch.get_num_threads()),
        ("numba", "numba", lambda numba: numba.config.NUMBA_NUM_THREADS),
    ):
        try:
            threads[name] = read(import_module(module))
        except Exception:  # already told among the core's packages
            threads[name] = None
    for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        threads[variable] = os.environ.get(variable)
    return threads


def doctor(*, as_json: bool, boards: bool = False) -> int:
    """Print the findings; return the exit code."""
    found = examine(boards=boards)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)
    return 0 if found.ok else 1


def _show(found: Findings) -> None:
    if found.ok:
        verdict = "[green]Everything that the core needs works.[/]"
    else:
        broken = ", ".join(part.name for part in found.core if part.state != "ok")
        verdict = f"[bold red]The core does not work:[/] {escape(broken)}. See above for what to do."
    show(
        f"[bold]snnkit {found.snnkit}[/]  Python {found.python}, {found.platform}",
        f"[dim]{escape(found.location)}[/]",
        "\n[bold]Core[/]",
        grid(_row(part) for part in found.core),
        "\n[bold]Optional[/]",
        grid(_row(part) for part in found.optional),
        "\n[bold]Hardware[/]",
        grid([_samna_row(found.samna), *_board_rows(found)]),
        "\n[bold]Sessions[/]  [dim]snnkit.hw.connect(...), snnkit validate --on ...[/]",
        grid((_MARKS[_session_mark(uri, found)], uri, escape(told)) for uri, told in found.sessions.items()),
        "\n[bold]Machine[/]",
        grid([("threads", _threads_text(found.threads)), ("kernels", _cache_text(found.cache))]),
        f"\n{verdict}",
    )


def _row(part: Part) -> tuple[str, ...]:
    told = escape("; ".join(text for text in (part.purpose, part.advice) if text))
    return _MARKS[part.state], part.name, part.version or "[dim]not installed[/]", told


def _samna_row(samna: Samna) -> tuple[str, ...]:
    state = "old" if samna.old else samna.state
    mark = {"real": "ok", "absent": "missing", "old": "old"}.get(state, "broken")
    words = {
        "real": f"{samna.version or ''} the vendor's own, not opened here",
        "old": f"{samna.version} the vendor's own, but too old.",
        "stub": f"{samna.version or ''} a stub.",
        "leftover": "leftover files.",
        "absent": "not installed.",
    }[state]
    return _MARKS[mark], "samna", escape(f"{words.strip()} {samna.advice}".strip())


def _session_mark(uri: str, found: Findings) -> str:
    return "ok" if found.samna.usable or not uri.startswith("samna:") else "missing"


def _board_rows(found: Findings) -> list[tuple[str, ...]]:
    if found.boards is None:
        hint = "snnkit doctor --boards lists what is plugged in"
        return [("", "boards", f"[dim]{hint}[/]")] if found.samna.usable else []
    rows: list[tuple[str, ...]] = [
        (
            _MARKS["broken" if board.problem else "ok"],
            board.uri,
            escape("; ".join(text for text in (board.chip, _firmware_text(board), board.problem) if text)),
        )
        for board in found.boards
    ]
    return rows or [(_MARKS["missing"], "boards", "none is plugged in; check cable, power and USB rights")]


def _firmware_text(board: "BoardState") -> str:
    return "" if board.firmware is None else "firmware fxtree {}, unifirm {}".format(*board.firmware)


def _threads_text(threads: dict[str, int | str | None]) -> str:
    text = f"{threads['cores']} cores; torch uses {threads['torch']}, numba {threads['numba']}"
    set_here = [
        f"{name}={threads[name]}" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if threads[name]
    ]
    return escape(f"{text} ({', '.join(set_here)})" if set_here else text)


def _cache_text(cache: NumbaCache) -> str:
    if not cache.writable:
        return escape(f"cannot be kept in {cache.folder}: every run compiles anew. Set NUMBA_CACHE_DIR.")
    kept = f"{cache.files} files, {bytes_text(cache.bytes)}" if cache.files else "nothing compiled yet"
    return escape(f"kept in {cache.folder} ({cache.reason}): {kept}")
