"""Matrix configurations: a YAML or TOML file that stands for the jobs of all its combinations."""

import itertools
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnkit.experiments.matrix.callables import is_sequence, optimizers, schedulers
from snnkit.experiments.matrix.job import Job
from snnkit.experiments.matrix.sections import Dataset, Initializer, Model, Optimizer, TrainingParams
from snnkit.experiments.matrix.unrolling import combinations, read_sections
from snnkit.experiments.models import MODELS, model_arguments
from snnkit.recipes.schema import RecipeError
from snnkit.teleport.training import TeleportationSettings
from snnkit.utilities.errors import FileFormatError, MissingDependencyError, unknown_key_message

__all__ = ["Matrix", "parse_matrix", "read_matrix", "read_table"]

_KEYS = (
    "runs_per_config",
    "datasets",
    "models",
    "initializers",
    "optimizers",
    "training_params",
    "teleportations",
)
_LARGEST = 100_000
_DEFAULTS = {"initializers": "none", "teleportations": {"no_teleport": True}}
_REQUIRED = ("datasets", "models", "optimizers", "training_params")


@dataclass(frozen=True)
class Matrix:
    """A configuration, read: the values along each axis."""

    source: str
    runs_per_config: int
    datasets: tuple[Dataset, ...]
    models: tuple[Model, ...]
    initializers: tuple[Initializer, ...]
    optimizers: tuple[Optimizer, ...]
    training_params: tuple[TrainingParams, ...]
    teleportations: tuple[TeleportationSettings | None, ...]

    def jobs(self, seed: int = 0) -> tuple[Job, ...]:
        """Return the jobs of all combinations, each once, those of a run together."""
        found: dict[str, Job] = {}
        for run in range(self.runs_per_config):
            for dataset, model, initializer, optimizer, params, teleport in itertools.product(
                self.datasets,
                self.models,
                self.initializers,
                self.optimizers,
                self.training_params,
                self.teleportations,
            ):
                job = Job(dataset, model, initializer, optimizer, params, teleport, seed, run)
                found.setdefault(job.name, job)
        return tuple(found.values())


def read_matrix(path: str | Path) -> Matrix:
    """Return the configuration in a ``.toml``, ``.yaml`` or ``.yml`` file.

    Raises:
        FileFormatError: it cannot be read, or is not TOML or YAML.
        RecipeError: it is wrong; every fault is listed, unknown keys with their nearest match.
        MissingDependencyError: YAML is to be read and PyYAML is not installed.
    """
    return parse_matrix(read_table(path), str(path))


def read_table(path: str | Path) -> Any:
    """Return what stands in a configuration file, unchecked; FileFormatError where it cannot be read."""
    path = Path(path)
    if path.suffix not in _READERS:
        raise FileFormatError(f"{path} must end in one of {', '.join(_READERS)}.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a readable configuration: {error}") from error
    return _READERS[path.suffix](text, str(path))


def parse_matrix(table: Any, source: str) -> Matrix:
    """Return the configuration in a table as :func:`read_matrix` does; ``source`` names it in messages."""
    if not isinstance(table, Mapping):
        raise RecipeError(source, [f"It must be a table of {', '.join(_KEYS)}, not {table!r}."])
    problems = [unknown_key_message("key", str(key), _KEYS) for key in table if key not in _KEYS]
    problems += [f"{key} is missing." for key in _REQUIRED if key not in table]
    runs = table.get("runs_per_config", 1)
    if type(runs) is not int or runs < 1:
        problems.append(f"runs_per_config is {runs!r}; it must be a whole number of at least 1.")
    axes = {
        "datasets": _named(Dataset, "name", table, "datasets", problems),
        "models": _with_arguments(Model, table, "models", problems, _model_defaults),
        "initializers": _named(Initializer, "type", {**_DEFAULTS, **table}, "initializers", problems),
        "optimizers": _with_arguments(Optimizer, table, "optimizers", problems, _optimizer_defaults),
        "training_params": _named(TrainingParams, "", table, "training_params", problems),
        "teleportations": _teleportations({**_DEFAULTS, **table}["teleportations"], problems),
    }
    problems += [f"{key} must not be empty." for key, found in axes.items() if not found and not problems]
    if problems:
        raise RecipeError(source, list(dict.fromkeys(problems)))
    return Matrix(source, runs, **{key: tuple(found) for key, found in axes.items()})


def _read_toml(text: str, source: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(f"{source} is not valid TOML: {error}.") from error


def _read_yaml(text: str, source: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            f'{source} needs PyYAML: pip install "snnkit[experiments]" ({error}). TOML needs nothing.'
        ) from error
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FileFormatError(f"{source} is not valid YAML: {error}.") from error
    if _written_out(found, {}) > _LARGEST:
        raise FileFormatError(
            f"{source} has more than {_LARGEST:,} entries: its aliases (*name) multiply, or hold themselves."
        )
    return found


def _written_out(node: Any, known: dict[int, float]) -> float:
    """Return how many entries a value has with all its aliases written out; infinite inside itself."""
    if not isinstance(node, dict | list):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf
        children = node.values() if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_written_out(child, known) for child in children)
    return known[id(node)]


_READERS = {".toml": _read_toml, ".yaml": _read_yaml, ".yml": _read_yaml}


def _entries(table: Mapping[str, Any], key: str, place: str = "") -> list[tuple[str, Any]]:
    """Return the entries of a list, or a value that is none as the only one, each with its place."""
    value, place = table.get(key, []), f"{place}{key}"
    return (
        [(f"{place}[{i}]", v) for i, v in enumerate(value)] if isinstance(value, list) else [(place, value)]
    )


def _named(cls: type, field: str, table: Mapping[str, Any], key: str, problems: list[str]) -> list[Any]:
    """Read a list of names and tables; a bare name stands for the table that only has it."""
    found = []
    for where, entry in _entries(table, key):
        section = {field: entry} if isinstance(entry, str) else entry
        found += read_sections(cls, section, where, problems)
    return found


def _with_arguments(
    cls: type,
    table: Mapping[str, Any],
    key: str,
    problems: list[str],
    defaults: Callable[[str], Mapping[str, Any]],
) -> list[Any]:
    found = []
    for where, entry in _entries(table, key):
        section = {"cls": entry} if isinstance(entry, str) else entry
        for one in _unrolled(section, defaults):
            found += read_sections(cls, one, where, problems)
    return found


def _unrolled(section: Any, defaults: Callable[[str], Mapping[str, Any]]) -> list[Any]:
    """Unroll ``cls`` and the lists among its arguments, and those of a scheduler inside."""
    if not isinstance(section, Mapping):
        return [section]
    schedules: list[Any] = []
    if "lr_scheduler" in section:
        inner = section["lr_scheduler"]
        for entry in inner if isinstance(inner, list) else [inner]:
            schedules += _unrolled(entry, _scheduler_defaults)
        section = {**section, "lr_scheduler": schedules}
    arguments, names = section.get("kwargs"), section.get("cls")
    if not isinstance(arguments, Mapping):
        return [section]
    return [
        {**section, "cls": name, "kwargs": one}
        for name in (names if isinstance(names, list) else [names])
        for one in combinations(arguments, _lists_of(defaults(str(name))))
    ]


def _lists_of(known: Mapping[str, Any]) -> Callable[[str], bool]:
    return lambda key: is_sequence(key, known.get(key))


def _model_defaults(name: str) -> Mapping[str, Any]:
    return model_arguments(name) if name in MODELS else {}


def _optimizer_defaults(name: str) -> Mapping[str, Any]:
    return optimizers().get(name, {})


def _scheduler_defaults(name: str) -> Mapping[str, Any]:
    return schedulers().get(name, {})


def _teleportations(value: Any, problems: list[str]) -> list[Any]:
    """Read ``teleportations``: ``no_teleport``, true or false, and ``teleport``, a table or a list."""
    if not isinstance(value, Mapping):
        problems.append(f"teleportations must be a table with no_teleport and teleport, not {value!r}.")
        return []
    known = ("no_teleport", "teleport")
    problems += [
        unknown_key_message("key", f"teleportations.{key}", [f"teleportations.{k}" for k in known])
        for key in value
        if key not in known
    ]
    without = value.get("no_teleport", False)
    if not isinstance(without, bool):
        problems.append(f"teleportations.no_teleport must be true or false, not {without!r}.")
    found: list[Any] = [None] if without else []
    for where, entry in _entries(value, "teleport", "teleportations."):
        for section in _modes(entry):
            found += read_sections(TeleportationSettings, section, where, problems, hidden=("seed",))
    return found


def _modes(section: Any) -> list[Any]:
    """Unroll ``mode = {random = {}, optim = {metric = [...]}}``: a table of modes with their own fields."""
    if not isinstance(section, Mapping) or not isinstance(section.get("mode"), Mapping):
        return [section]
    return [{**section, "mode": mode, **(more or {})} for mode, more in section["mode"].items()]
