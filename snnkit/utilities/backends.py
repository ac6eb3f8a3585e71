"""Which optional parts are there, found without importing any of them.

Importing to find out would be slow, and for ``samna`` harmful: the package of that name on the public
index is a stub that starts an installation the moment it is imported. So only installed metadata and files
are looked at.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from snnkit.utilities.errors import MissingDependencyError

__all__ = [
    "SAMNA_DOCUMENTATION",
    "NumbaCache",
    "Part",
    "Samna",
    "core_parts",
    "find_part",
    "find_samna",
    "is_older",
    "numba_cache",
    "optional_parts",
    "require",
]

SAMNA_DOCUMENTATION = "https://synsense-sys-int.gitlab.io/samna/"

_PURPOSES = {
    "aeon": "the built-in recipes' recordings",
    "igraph": "pictures of graphs",
    "matplotlib": "figures of the report",
    "jinja2": "the report page",
    "scikit-learn": "digits, the experiments' images",
    "pyyaml": "experiments' configurations in YAML",
    "distributed": "experiments on a cluster",
    "dask-jobqueue": "experiments through SLURM",
    "rockpool": "comparing with Rockpool, bringing its nets over",
    "xylosim": "comparing with the vendor's simulator",
}
_IMPORT_NAMES = {"scikit-learn": "sklearn", "pyyaml": "yaml", "dask-jobqueue": "dask_jobqueue"}
_EXTRAS = ("report", "drawing", "data", "experiments", "cluster", "rockpool", "oracles")
_SHARED_LIBRARIES = (*EXTENSION_SUFFIXES, ".so", ".dylib", ".dll", ".pyd")

PartState = Literal["ok", "missing", "old", "broken"]
SamnaState = Literal["real", "stub", "leftover", "absent"]


@dataclass(frozen=True)
class Part:
    """One package that snnkit needs or can use; ``advice`` is empty when there is nothing to do."""

    name: str
    state: PartState
    version: str | None
    minimum: str | None
    purpose: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Samna:
    """The vendor's driver as installed: the real one, the stub, a leftover folder, or nothing."""

    state: SamnaState
    version: str | None
    location: str | None
    old: bool
    """True for a real one that is older than the interface this release was written against."""
    advice: str

    @property
    def usable(self) -> bool:
        """True when a board can be opened with it."""
        return self.state == "real" and not self.old


@dataclass(frozen=True)
class NumbaCache:
    """Where compiled kernels are kept, so that only the first run compiles."""

    folder: str
    reason: str
    writable: bool
    files: int
    bytes: int


def is_older(version: str, minimum: str) -> bool:
    """Compare release numbers; a suffix such as ``rc1`` or ``+cpu`` does not count."""

    def release(text: str) -> tuple[int, ...]:
        numbers = re.match(r"\d+(?:\.\d+)*", text)
        parts = [int(n) for n in numbers.group().split(".")] if numbers else [0]
        while parts and parts[-1] == 0:
            parts.pop()
        return tuple(parts)

    return release(version) < release(minimum)


def _requirements() -> dict[str | None, dict[str, str | None]]:
    """Return our own installed requirements: extra (None for the core) -> package -> smallest version."""
    try:
        lines = metadata.requires("snnkit") or []
    except metadata.PackageNotFoundError:  # run from a bare source folder
        return {}
    found: dict[str | None, dict[str, str | None]] = {}
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        minimum = re.search(r"[>=]=\s*([\w.]+)", line.split(";")[0])
        if name:
            group = found.setdefault(extra.group(1) if extra else None, {})
            group[name.group().lower()] = minimum.group(1) if minimum else None
    return found


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def find_part(name: str, minimum: str | None = None, extra: str | None = None) -> Part:
    """Describe the distribution ``name`` without importing it."""
    version, spec = _version(name), _spec(_IMPORT_NAMES.get(name, name))
    install = f'pip install "snnkit[{extra}]"' if extra else f'pip install "{name}>={minimum}"'
    purpose = _PURPOSES.get(name, "")
    if spec is None or not _has_code(spec):
        if version is None:
            return Part(name, "missing", None, minimum, purpose, install)
        advice = f"Its files are gone: pip install --force-reinstall {name}"
        return Part(name, "broken", version, minimum, purpose, advice)
    if version and minimum and is_older(version, minimum):
        return Part(name, "old", version, minimum, purpose, f"Needs {minimum} or newer: {install} --upgrade")
    return Part(name, "ok", version, minimum, purpose)


def core_parts() -> tuple[Part, ...]:
    """Describe the packages that snnkit cannot do without."""
    needed = _requirements().get(None) or dict.fromkeys(("torch", "numpy", "numba", "safetensors"))
    return tuple(find_part(name, minimum) for name, minimum in needed.items())


def optional_parts() -> tuple[Part, ...]:
    """Describe the optional packages, except samna: see :func:`find_samna`."""
    requirements = _requirements()
    parts: dict[str, Part] = {}
    for extra in _EXTRAS:
        for name, minimum in requirements.get(extra, {}).items():
            if name != "snnkit":  # an extra that includes another
                parts.setdefault(name, find_part(name, minimum, extra))
    return tuple(parts.values())


def find_samna() -> Samna:
    """Tell the real samna from the stub by its files: only the real one ships compiled libraries."""
    spec, version = _spec("samna"), _version("samna")
    only_hardware = f"Only needed to run on a chip. The vendor's guide: {SAMNA_DOCUMENTATION}"
    if spec is None:
        return Samna("absent", None, None, False, only_hardware)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    location = str(folders[0]) if folders else spec.origin
    if _has_files(spec, _SHARED_LIBRARIES):
        minimum = _requirements().get("hardware", {}).get("samna")
        old = bool(version and minimum and is_older(version, minimum))
        advice = f"Update to {minimum} or newer: {SAMNA_DOCUMENTATION}" if old else ""
        return Samna("real", version, location, old, advice)
    if not _has_code(spec):
        advice = f"Only an empty folder is left of it: remove {location}, then install. {only_hardware}"
        return Samna("leftover", version, location, False, advice)
    advice = (
        "This is the public index's placeholder, which starts an installation when imported. "
        f"Run pip uninstall samna, then install the vendor's own. {only_hardware}"
    )
    return Samna("stub", version, location, False, advice)


def _spec(name: str) -> ModuleSpec | None:
    """Find a top-level package; for those ``find_spec`` imports nothing."""
    try:
        return find_spec(name)
    except ValueError:  # a stand-in module without a spec was put into sys.modules
        return None


def _has_code(spec: ModuleSpec) -> bool:
    """A folder that an uninstalled package left behind still has a spec, but no code."""
    return spec.origin is not None or _has_files(spec, (".py", *_SHARED_LIBRARIES))


def _has_files(spec: ModuleSpec, endings: tuple[str, ...]) -> bool:
    if spec.origin and spec.origin.endswith(endings):
        return True
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    return any(
        path.name.endswith(endings) or (".so" in endings and ".so." in path.name)
        for folder in folders
        for path in folder.rglob("*")
    )


def numba_cache(code: Sequence[Path]) -> NumbaCache:
    """Say where numba keeps the compiled kernels of the folders ``code``, by numba's own order of places."""
    configured = os.environ.get("NUMBA_CACHE_DIR")
    if configured:
        folders, reason = [Path(configured)], "NUMBA_CACHE_DIR"
    elif all(_can_write(folder) for folder in code):
        folders, reason = list(code), "next to the code"
    else:
        folders, reason = [_user_cache()], "the user's cache, as the code's folder cannot be written"
    kept = {path for suffix in ("*.nbi", "*.nbc") for folder in folders for path in folder.rglob(suffix)}
    size = sum(path.stat().st_size for path in kept)
    return NumbaCache(str(folders[0]), reason, _can_write(folders[0]), len(kept), size)


def _can_write(folder: Path) -> bool:
    """A folder that is not there yet can be written when the nearest one above it can."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _user_cache() -> Path:
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "numba"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "numba" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME", home / ".cache")) / "numba"


def require(package: str, extra: str, what: str) -> None:
    """Make sure that an optional package can be imported.

    Args:
        package: Its name.
        extra: Ours that installs it.
        what: What needs it, to begin the message with.

    Raises:
        MissingDependencyError: It cannot; the message names the extra.
    """
    try:
        import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f'{what} needs {package}: pip install "snnkit[{extra}]" ({error}).'
        ) from error
