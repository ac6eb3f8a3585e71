"""The folder of one experiment: what it was begun with, and what it found. Files are whole or not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snnkit
from snnkit.experiments.findings import Findings
from snnkit.utilities.errors import ConfigurationError, FileFormatError
from snnkit.utilities.files import read_json, write_json, write_text

__all__ = ["ExperimentFolder"]

_FORMAT = "snnkit-experiment-1"


@dataclass(frozen=True)
class ExperimentFolder:
    """Paths of an experiment."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def beginning(self) -> Path:
        """Name, size, seed and settings; written first."""
        return self.path / "experiment.json"

    @property
    def results(self) -> Path:
        """What was found; written last."""
        return self.path / "findings.json"

    @property
    def page(self) -> Path:
        """Reading, tables, checks and figures for people."""
        return self.path / "findings.md"

    @property
    def figures(self) -> Path:
        """Folder of the pictures."""
        return self.path / "figures"

    def begin(self, name: str, seed: int, settings: dict[str, Any]) -> None:
        """Make this the folder of that experiment, or go on with it where it was interrupted.

        Raises:
            ConfigurationError: the folder holds another experiment, other settings or other files.
        """
        wanted = {
            "format": _FORMAT,
            "version": snnkit.__version__,
            "experiment": name,
            "seed": seed,
            "settings": settings,
        }
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a file. Choose a folder for --out.")
        present = {p.name for p in self.path.iterdir()} if self.path.is_dir() else set()
        if present <= {self.beginning.name}:  # Nothing was found yet, so that nothing can be mixed.
            write_json(self.beginning, wanted)
            return
        if self.beginning.name not in present:
            raise ConfigurationError(f"{self.path} holds other files. Choose an empty folder for --out.")
        begun = self.begun_with()
        for key, value in wanted.items():
            if begun.get(key) != value:
                raise ConfigurationError(
                    f"{self.path} holds an experiment with {_difference(key, begun.get(key), value)}. "
                    "Go on with what it was begun with, or choose another --out."
                )

    def begun_with(self) -> dict[str, Any]:
        """Return what :meth:`begin` wrote; FileFormatError where this is no folder of an experiment."""
        content = read_json(self.beginning)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise FileFormatError(f"{self.beginning} is not of an experiment of this release.")
        return content

    def findings(self) -> Findings | None:
        """Return what was found, None while it is not."""
        return Findings.from_json(read_json(self.results)) if self.results.exists() else None

    def write_findings(self, findings: Findings) -> None:
        """Write what was found."""
        write_json(self.results, findings.to_json())

    def write_page(self, text: str) -> None:
        """Write the page for people."""
        write_text(self.page, text)


def _difference(key: str, present: Any, wanted: Any) -> str:
    if isinstance(present, dict) and isinstance(wanted, dict):
        inner = next(k for k in sorted(present.keys() | wanted.keys()) if present.get(k) != wanted.get(k))
        return _difference(f"{key}.{inner}", present.get(inner), wanted.get(inner))
    return f"{key} = {present!r}, not {wanted!r}"
