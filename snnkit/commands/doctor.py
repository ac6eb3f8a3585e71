"""``snnkit doctor``: what is installed, what works, and what to do about the rest."""

import os
import platform
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

__all__ = ["Findings", "doctor", "examine"]

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

    @property
    def ok(self) -> bool:
        """True when all that the core needs is there and works."""
        return all(part.state == "ok" for part in self.core)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain JSON values."""
        return {"ok": self.ok, **asdict(self), "samna": {**asdict(self.samna), "usable": self.samna.usable}}


def examine() -> Findings:
    """Look at this installation. The core's packages are imported, the optional ones are only found."""
    package = Path(snnkit.__file__).parent
    return Findings(
        snnkit=snnkit.__version__,
        location=str(package),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        core=tuple(_try(part) for part in core_parts()),
        optional=optional_parts(),
        samna=find_samna(),
        threads=_threads(),
        cache=numba_cache([package, *_folders_outside()]),
    )


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


def doctor(*, as_json: bool) -> int:
    """Print the findings; return the exit code."""
    found = examine()
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
        grid([_samna_row(found.samna)]),
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
