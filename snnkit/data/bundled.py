"""Real recordings that come inside the ``aeon`` package; nothing is ever downloaded.

BasicMotions: a smart watch's accelerometer and gyroscope, 6 channels, 10 Hz, 4 activities, 40 + 40
recordings of 100 samples. JapaneseVowels: 12 linear-prediction coefficients of nine speakers saying
/ae/, 270 + 370 recordings of 7 to 29 frames. Both are sets of the UEA archive.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from snnkit.data.recordings import RecordingSet, Split
from snnkit.utilities.errors import DataError, MissingDependencyError

__all__ = ["load_basic_motions", "load_japanese_vowels"]


def load_basic_motions() -> Split:
    """Return the archive's own split of BasicMotions. Errors: as :func:`load_japanese_vowels`."""
    return _load("BasicMotions", sample_rate=10.0)


def load_japanese_vowels() -> Split:
    """Return the archive's own split of JapaneseVowels (frames every 6.4 ms).

    Raises:
        MissingDependencyError: ``aeon`` is not installed.
        DataError: the installed ``aeon`` does not bundle the set.
    """
    return _load("JapaneseVowels", sample_rate=156.25)


def _load(name: str, sample_rate: float) -> Split:
    folder = _bundled_folder() / name
    parts = {}
    for part in ("TRAIN", "TEST"):
        # aeon's load_basic_motions() and its like go to the network when the file is missing;
        # reading by path cannot.
        path = folder / f"{name}_{part}.ts"
        if not path.is_file():
            raise DataError(
                f"The installed aeon does not bundle {name} ({path} is missing). "
                "Install the release that snnkit was tested with: pip install 'snnkit[data]'."
            )
        parts[part] = _read(path)
    classes = tuple(sorted(set(parts["TRAIN"][1])))
    train, test = (_recording_set(*parts[part], classes, sample_rate, part) for part in ("TRAIN", "TEST"))
    return Split(train, test)


def _bundled_folder() -> Path:
    spec = find_spec("aeon")  # Finding a package does not import it.
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "The bundled recordings come with the package aeon, which is not installed. "
            "Install it with: pip install 'snnkit[data]'."
        )
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"


def _read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    from aeon.datasets import load_from_ts_file

    signals, labels = load_from_ts_file(str(path), return_type="np-list")
    return [np.asarray(signal).T for signal in signals], [str(label) for label in labels]


def _recording_set(
    signals: list[np.ndarray], labels: list[str], classes: tuple[str, ...], sample_rate: float, part: str
) -> RecordingSet:
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise DataError(f"The test split names classes that the training split lacks: {', '.join(unknown)}.")
    return RecordingSet(
        signals=tuple(signals),
        labels=np.array([classes.index(label) for label in labels]),
        classes=classes,
        names=tuple(f"{part.lower()}/{i}" for i in range(len(signals))),
        sample_rate=sample_rate,
    )
