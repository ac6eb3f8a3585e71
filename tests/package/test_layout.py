"""The plan of the house, held against the code: folders, packaging and who may import whom."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"snnkit": ROOT / "snnkit", "snnkit.hw": ROOT / "hw", "snnkit.transforms": ROOT / "transforms"}

# Each row may import itself and what is listed. Longer prefixes are looked up first.
MAY_IMPORT = {
    "snnkit.utilities": set(),
    "snnkit.parameters": {"snnkit.utilities"},
    "snnkit.dag": {"snnkit.utilities"},
    "snnkit.nn": {"snnkit.dag", "snnkit.parameters", "snnkit.utilities"},
    "snnkit.teleport": {"snnkit.dag", "snnkit.utilities"},
    "snnkit.training": {"snnkit.nn", "snnkit.dag", "snnkit.parameters", "snnkit.utilities"},
    "snnkit.data": {"snnkit.utilities"},
    "snnkit.transforms": {"snnkit.nn", "snnkit.dag", "snnkit.parameters", "snnkit.utilities"},
    "snnkit.hw": {
        "snnkit.transforms",
        "snnkit.teleport",
        "snnkit.data",
        "snnkit.training",
        "snnkit.nn",
        "snnkit.dag",
        "snnkit.parameters",
        "snnkit.utilities",
    },
}
FREE = (
    "snnkit.cli",
    "snnkit.commands",
    "snnkit.experiments",
    "snnkit.recipes",
    "snnkit.report",
    "snnkit.__main__",
)


def sources() -> dict[str, Path]:
    """Map every module's dotted name to its file."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = path
    return found


def row_of(module: str) -> str | None:
    """Return the architecture's row that a module belongs to, None outside the table."""
    for row in sorted([*MAY_IMPORT, *FREE], key=len, reverse=True):
        if module == row or module.startswith(row + "."):
            return row
    return None


def imports_of(name: str, path: Path) -> list[tuple[int, str]]:
    """List the modules a file imports as (line, absolute dotted name)."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # `from snnkit import nn` names a sub-package in the alias.
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "snnkit" else [stem]
            found += [(node.lineno, target) for target in names]
    return found


def test_every_folder_is_packaged():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packaged = set(project["tool"]["setuptools"]["packages"])
    present = {name for name, path in sources().items() if path.name == "__init__.py"}
    assert packaged == present


def test_every_source_folder_is_a_package():
    for folder in FOLDERS.values():
        for path in folder.rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


def test_no_module_is_reachable_under_two_names():
    offenders = [
        f"{path}:{line}"
        for name, path in sources().items()
        for line, target in imports_of(name, path)
        if target.split(".")[0] in {"hw", "transforms"}
    ]
    assert not offenders


def test_hw_and_transforms_import_their_siblings_relatively():
    offenders = []
    for name, path in sources().items():
        row = row_of(name)
        if row not in ("snnkit.hw", "snnkit.transforms"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith(row):
                offenders.append(f"{path}:{node.lineno} imports {node.module}")
    assert not offenders


def test_imports_go_from_a_row_to_rows_above_it():
    offenders = []
    for name, path in sources().items():
        row = row_of(name)
        if row is None or row in FREE:
            continue
        for line, target in imports_of(name, path):
            if target == "snnkit.__version__":
                continue
            other = row_of(target)
            if target.startswith("snnkit.") and other not in MAY_IMPORT[row] | {row}:
                offenders.append(f"{path.relative_to(ROOT)}:{line} ({row}) imports {target}")
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("banned", ["samna", "rockpool", "xylosim"])
def test_the_package_never_imports(banned):
    offenders = [
        f"{path}:{line}"
        for name, path in sources().items()
        for line, target in imports_of(name, path)
        if target.split(".")[0] == banned
    ]
    assert not offenders


def test_files_stay_small_enough_to_read():
    large = {
        str(path): count for path in sources().values() if (count := len(path.read_text().splitlines())) > 450
    }
    assert not large
