"""A specification as two files: readable JSON, and its arrays as safetensors beside it.

The JSON holds chip, time step, shifts, aliases, populations and the SHA-256 of the whole content,
so that a damaged file, or two files of different programs, are refused. Nothing is executed on reading.
"""

from pathlib import Path
from typing import Any

import numpy as np

from snnkit.utilities.errors import FileFormatError, unknown_key_message
from snnkit.utilities.files import read_arrays, read_json, write_arrays, write_json

from .core import ARRAYS, SHIFTS, Population, Specification

__all__ = [
    "load_specification",
    "save_specification",
    "specification_of_parts",
    "specification_parts",
]

FORMAT = "snnkit specification"
VERSION = 1

# One entry only: safetensors writes several in random order, and equal programs shall be equal files.
_LABEL = {"format": f"{FORMAT} {VERSION}"}

_KEYS = ("format", "version", "sha256", "chip", "dt", *SHIFTS, "hidden_neurons", "aliases", "populations")
_POPULATION_KEYS = ("path", "layer", "start", "stop")


def save_specification(spec: Specification, path: str | Path) -> Path:
    """Write ``spec`` as ``path.json`` and ``path.safetensors``; return the path of the JSON file.

    A suffix ``.json`` or ``.safetensors`` of ``path`` may be given or left out.
    """
    json_path, arrays_path = _paths(path)
    header, arrays = specification_parts(spec)
    # The arrays go first: interrupted between the two, the old JSON refuses the new arrays.
    write_arrays(arrays_path, arrays, _LABEL)
    return write_json(json_path, header)


def specification_parts(spec: Specification) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what the JSON file holds, and the arrays beside it."""
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "sha256": spec.digest}
    header |= {name: getattr(spec, name) for name in ("chip", "dt", *SHIFTS)}
    header["hidden_neurons"] = spec.n_hidden
    header["aliases"] = [
        {"source": source, "targets": list(targets)} for source, targets in enumerate(spec.aliases) if targets
    ]
    header["populations"] = [{key: getattr(p, key) for key in _POPULATION_KEYS} for p in spec.populations]
    return header, {name: getattr(spec, name) for name in ARRAYS}


def specification_of_parts(header: Any, arrays: dict[str, np.ndarray]) -> Specification:
    """Make a specification of what :func:`specification_parts` returned.

    Raises:
        ValueError: a part is not what it should be, or the parts do not belong together.
    """
    header = _checked_header(header)
    values = _values(header)
    _check_arrays(arrays)
    spec = Specification(**(values | arrays))
    if spec.digest != header["sha256"]:
        raise ValueError("its content and its arrays do not match the checksum.")
    return spec


def load_specification(path: str | Path) -> Specification:
    """Read the pair of files that :func:`save_specification` wrote, given the name of either.

    Raises:
        FileFormatError: if a file is missing, damaged, of another kind or version, or if its
            content is not a specification.
    """
    json_path, arrays_path = _paths(path)
    try:
        header = _checked_header(read_json(json_path))
        arrays, metadata = read_arrays(arrays_path)
        if metadata != _LABEL:
            raise ValueError(f"{arrays_path.name} carries the label {metadata}, not {_LABEL}.")
        return specification_of_parts(header, arrays)
    except FileFormatError:
        raise
    except (ValueError, TypeError) as error:
        raise FileFormatError(f"{json_path} cannot be used: {error}") from error


def _paths(path: str | Path) -> tuple[Path, Path]:
    path = Path(path)
    stem = path.stem if path.suffix in (".json", ".safetensors") else path.name
    return path.with_name(f"{stem}.json"), path.with_name(f"{stem}.safetensors")


def _checked_header(header: Any) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"it is not a {FORMAT}; its `format` must say so.")
    if header.get("version") != VERSION:
        raise ValueError(f"it has version {header.get('version')!r}; this release reads version {VERSION}.")
    _check_keys("key", header, _KEYS)
    for name in ("version", "hidden_neurons", *SHIFTS):
        _check_type(name, header[name], int)
    for name in ("chip", "sha256"):
        _check_type(name, header[name], str)
    _check_type("dt", header["dt"], (int, float))
    for name in ("aliases", "populations"):
        _check_type(name, header[name], list)
    return header


def _values(header: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments that stand in the JSON file."""
    values = {name: header[name] for name in ("chip", "dt", *SHIFTS)}
    values["aliases"] = _read_aliases(header["aliases"], header["hidden_neurons"])
    populations = []
    for entry in header["populations"]:
        _check_keys("population key", entry, _POPULATION_KEYS)
        for name, kind in zip(_POPULATION_KEYS, (str, str, int, int), strict=True):
            _check_type(name, entry[name], kind)
        populations.append(Population(**entry))
    values["populations"] = tuple(populations)
    return values


def _read_aliases(entries: list[Any], n_hidden: int) -> tuple[tuple[int, ...], ...]:
    by_source: dict[int, tuple[int, ...]] = {}
    for entry in entries:
        _check_keys("alias key", entry, ("source", "targets"))
        _check_type("source", entry["source"], int)
        _check_type("targets", entry["targets"], list)
        for target in entry["targets"]:
            _check_type("target", target, int)
        if entry["source"] in by_source:
            raise ValueError(f"hidden neuron {entry['source']} stands twice in aliases.")
        by_source[entry["source"]] = tuple(entry["targets"])
    outside = [source for source in by_source if not 0 <= source < n_hidden]
    if outside:
        raise ValueError(f"aliases name hidden neuron {outside[0]} of {n_hidden}.")
    # No chip has more: a forged count must not make us build a list of that length.
    if not 0 < n_hidden <= 2**16:
        raise ValueError(f"hidden_neurons = {n_hidden} is impossible.")
    return tuple(by_source.get(source, ()) for source in range(n_hidden))


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    _check_keys("array", arrays, tuple(ARRAYS))
    for name, dtype in ARRAYS.items():
        if arrays[name].dtype != np.dtype(dtype):
            raise ValueError(f"array {name} is {arrays[name].dtype}, not {np.dtype(dtype)}.")


def _check_keys(kind: str, found: Any, known: tuple[str, ...]) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"an object with {', '.join(known)} is needed, not {found!r:.60}.")
    extra = sorted(set(found) - set(known))
    missing = [name for name in known if name not in found]
    if extra:
        raise ValueError(unknown_key_message(kind, extra[0], known))
    if missing:
        raise ValueError(f"{kind} {missing[0]!r} is missing.")


def _check_type(name: str, value: Any, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"{name} = {value!r:.60} is not of type {wanted}.")
