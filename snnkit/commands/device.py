"""``snnkit validate --on``, ``snnkit validate FILE.xylo`` and ``snnkit pack``."""

from pathlib import Path

from rich.markup import escape
from rich.text import Text

from snnkit.commands.folders import existing_run
from snnkit.commands.terminal import grid, print_json, show, status
from snnkit.recipes.xylo_files import device_file, is_xylo_file, load_target, pack_run, validate_target
from snnkit.utilities.errors import ConfigurationError

__all__ = ["pack", "validate"]


def validate(
    path: Path | None, on: str | None, record_to: Path | None, samples: int | None, *, as_json: bool
) -> int:
    """Check a program's test vectors, on a device if one is named; exit code 1 if anything differs."""
    if on is None and (record_to is not None or samples is not None):
        raise ConfigurationError(
            "--record and --samples are about a device: name one with --on, such as fake:imu."
        )
    target = load_target(path if path is not None else existing_run(None).path)
    if not target.check.passed:
        if as_json:
            print_json({"file": str(target.path), "passed": False, "differences": str(target.check)})
        else:
            show(Text(str(target.check)))
        return 1
    if on is None:
        if as_json:
            about = {"samples": target.check.samples, "referenced": target.check.referenced}
            print_json({"file": str(target.path), "passed": True, **about})
        else:
            show(Text(f"{target.specification!r}\n{target.check}"))
        return 0
    status().print(f"Running {len(target.rasters[:samples])} test vectors on {on}", markup=False)
    found = validate_target(target, on, record_to, samples)
    if as_json:
        print_json(found.to_json())
        return 0 if found.passed else 1
    written = [device_file(target.path), *([record_to] if record_to else [])]
    rows = [("[dim]wrote[/]", escape(str(file))) for file in written]
    if not is_xylo_file(target.path):
        rows.append(("[dim]next[/]", escape(f"snnkit report {target.path}")))
    show(Text(f"{found}\n"), grid(rows, indent=0))
    return 0 if found.passed else 1


def pack(run: Path | None, out: Path | None, *, as_json: bool) -> int:
    """Write a run's program to one file."""
    written = pack_run(existing_run(run), out)
    if as_json:
        print_json({"file": str(written)})
    else:
        check = f"snnkit validate {written}"
        rows = [("[dim]wrote[/]", escape(str(written))), ("[dim]check[/]", escape(check))]
        show(grid(rows, indent=0))
    return 0
