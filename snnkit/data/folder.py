"""Loads a directory of WAV or CSV recordings, labelled by subfolder or by a file-name pattern."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnkit.data.recordings import RecordingSet, Split
from snnkit.data.tables import read_csv
from snnkit.data.wav import read_wav
from snnkit.utilities.errors import ConfigurationError, DataError, unknown_key_message

__all__ = ["FolderLayout", "load_folder"]

_FIELD = re.compile(r"\{(\w+)\}")
_SUFFIXES = (".wav", ".csv")
_SUBFOLDER = "label"


@dataclass(frozen=True)
class FolderLayout:
    """How the files of a directory are labelled and split.

    Attributes:
        pattern: File name with fields in braces, such as ``{label}_{speaker}_{take}.wav``; it needs
            ``{label}``. Empty: the label is the name of the subfolder that a file lies in.
        split_by: Field whose value decides the split; empty: a random ``test_fraction`` of each class.
        test_values: Values of ``split_by`` that go to the test split (takes 5 to 9, or one speaker).
            Empty: a random ``test_fraction`` of the field's values.
        test_fraction: Fraction that goes to the test split where no values are named.
        sample_rate: Hertz of CSV files, which name none; 0: unknown. WAV files carry their own.
    """

    pattern: str = ""
    split_by: str = ""
    test_values: tuple[str, ...] = ()
    test_fraction: float = 0.2
    sample_rate: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        names = _FIELD.findall(self.pattern)
        if self.pattern and _SUBFOLDER not in names:
            problems.append(f"pattern {self.pattern!r} lacks the field {{label}}.")
        if len(names) != len(set(names)):
            problems.append(f"pattern {self.pattern!r} names a field twice.")
        if self.split_by and self.split_by not in (names or [_SUBFOLDER]):
            problems.append(unknown_key_message("field in split_by", self.split_by, names or [_SUBFOLDER]))
        if self.test_values and not self.split_by:
            problems.append("test_values needs split_by, the field that they are values of.")
        if not 0.0 < self.test_fraction < 1.0:
            problems.append(f"test_fraction is {self.test_fraction:g}; it must lie between 0 and 1.")
        if self.sample_rate < 0.0:
            problems.append(f"sample_rate is {self.sample_rate:g} Hz; it must be at least 0.")
        if problems:
            raise ConfigurationError("Folder layout: " + " ".join(problems))


@dataclass(frozen=True)
class _Entry:
    path: Path
    name: str
    fields: Mapping[str, str]


def load_folder(folder: str | Path, layout: FolderLayout, seed: int = 0) -> Split:
    """Read every recording below ``folder`` and split it.

    Args:
        folder: Directory; read recursively. Files other than WAV and CSV are left alone.
        layout: Labels and split.
        seed: Decides a random split, and nothing else.

    Raises:
        DataError: no recordings, names that do not match the pattern, mixed sample rates, an empty split.
        FileFormatError: a recording that cannot be read.
    """
    root = Path(folder)
    entries = _find(root, layout)
    tested = _choose_test(entries, layout, seed)
    classes = tuple(sorted({entry.fields[_SUBFOLDER] for entry in entries}, key=_natural))
    loaded = [_read(entry.path, layout) for entry in entries]
    rates = sorted({rate for _, rate in loaded})
    if len(rates) > 1:
        listed = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"Recordings in {root} have different sample rates ({listed} Hz). Resample them.")
    everything = RecordingSet(
        signals=tuple(signal for signal, _ in loaded),
        labels=np.array([classes.index(entry.fields[_SUBFOLDER]) for entry in entries]),
        classes=classes,
        names=tuple(entry.name for entry in entries),
        sample_rate=rates[0] or None,
    )
    return Split(everything.subset(np.flatnonzero(~tested)), everything.subset(np.flatnonzero(tested)))


def _find(root: Path, layout: FolderLayout) -> list[_Entry]:
    if not root.is_dir():
        raise DataError(f"{root} is not a directory. Name the folder of recordings with --data.")
    paths = sorted((p for p in root.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file()), key=str)
    if not paths:
        raise DataError(f"{root} holds no recordings: no file there ends in {' or '.join(_SUFFIXES)}.")
    matcher = _compile(layout.pattern) if layout.pattern else None
    if matcher is None:
        _refuse_empty_classes(root, paths)
    entries, strangers = [], []
    for path in paths:
        name = path.relative_to(root).as_posix()
        if matcher is None:
            parent = path.parent.relative_to(root).as_posix()
            found: Mapping[str, str] | None = None if parent == "." else {_SUBFOLDER: parent.split("/")[0]}
        else:
            match = matcher.fullmatch(path.name)
            found = match.groupdict() if match else None
        if found is None:
            strangers.append(name)
        else:
            entries.append(_Entry(path, name, found))
    if strangers:
        raise DataError(_stranger_message(root, layout, strangers, len(paths)))
    return entries


def _refuse_empty_classes(root: Path, paths: list[Path]) -> None:
    """A subfolder is a class: one without a readable recording would be left out in silence."""
    filled = {path.relative_to(root).parts[0] for path in paths}
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))
    empty = [name for name in folders if name not in filled]
    if empty:
        raise DataError(
            f"{root} has subfolders without a {' or '.join(_SUFFIXES)} file: {', '.join(empty)}. Each "
            "subfolder is a class; add its recordings (as WAV or CSV), or move it elsewhere."
        )


def _stranger_message(root: Path, layout: FolderLayout, strangers: list[str], total: int) -> str:
    examples = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
    if layout.pattern:
        return (
            f"{len(strangers)} of {total} recordings in {root} do not match {layout.pattern!r}: {examples}. "
            "Correct data.pattern in the recipe (empty: subfolders are the labels), or move them elsewhere."
        )
    return (
        f"{len(strangers)} of {total} recordings lie directly in {root} and have no label: {examples}. "
        "Put them into one subfolder per class, or set data.pattern, such as '{label}_{take}.wav'."
    )


def _compile(pattern: str) -> re.Pattern[str]:
    """Fields match as little as possible and never across a path separator; all else is literal."""
    pieces, position = [], 0
    for match in _FIELD.finditer(pattern):
        pieces.append(re.escape(pattern[position : match.start()]))
        pieces.append(f"(?P<{match.group(1)}>[^/]+?)")
        position = match.end()
    pieces.append(re.escape(pattern[position:]))
    return re.compile("".join(pieces), re.IGNORECASE)


def _choose_test(entries: list[_Entry], layout: FolderLayout, seed: int) -> np.ndarray:
    """Return a mask ``(recordings,)`` of the test split."""
    generator = np.random.default_rng(seed)
    if not layout.split_by:
        return _stratified(entries, layout.test_fraction, generator)
    values = [entry.fields[layout.split_by] for entry in entries]
    known = sorted(set(values), key=_natural)
    wanted = set(layout.test_values)
    if not wanted:
        count = min(max(1, round(layout.test_fraction * len(known))), len(known) - 1)
        wanted = {known[i] for i in generator.permutation(len(known))[:count]}
    missing = sorted(wanted - set(known), key=_natural)
    if missing:
        raise DataError(
            f"No recording has {layout.split_by} = {', '.join(missing)} (data.test_values). "
            f"Values found: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}."
        )
    return np.array([value in wanted for value in values])


def _stratified(entries: list[_Entry], fraction: float, generator: np.random.Generator) -> np.ndarray:
    labels = np.array([entry.fields[_SUBFOLDER] for entry in entries])
    tested = np.zeros(len(entries), dtype=bool)
    for label in sorted(set(labels.tolist())):
        members = generator.permutation(np.flatnonzero(labels == label))
        if members.size < 2:
            raise DataError(f"Class {label!r} has one recording; training and testing need one each.")
        count = min(max(1, round(fraction * members.size)), members.size - 1)
        tested[members[:count]] = True
    return tested


def _read(path: Path, layout: FolderLayout) -> tuple[np.ndarray, float]:
    if path.suffix.lower() == ".wav":
        return read_wav(path)
    return read_csv(path), layout.sample_rate


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts 2 before 10."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), p) if p.isdigit() else (1, 0, p) for p in parts)
