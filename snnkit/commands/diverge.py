"""``snnkit diverge``: two nets, programs, devices or recordings on the same rasters."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from snnkit.commands.check import load_net
from snnkit.commands.folders import existing_run
from snnkit.commands.terminal import print_json, show
from snnkit.recipes.deployment_file import not_deployed
from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import ConfigurationError, FileFormatError, unknown_key_message
from snnkit.utilities.files import read_arrays

if TYPE_CHECKING:
    from snnkit.hw import Comparison

__all__ = ["FORMS", "diverge"]

FORMS = (
    "RUN (its program), RUN:float, RUN:tuned (its nets), a specification.json, a FILE.xylo, a FILE.xrec, "
    "sim:imu, fake:imu, samna: (devices), or FILE.py:NAME (a net)"
)
_DEVICES = ("sim", "samna", "fake", "replay")
_NETS = ("float", "tuned")


@dataclass(frozen=True, eq=False)
class _Side:
    """What a text on the command line means, and the rasters that come with it."""

    title: str
    thing: Any
    rasters: np.ndarray | None = None


def diverge(
    a: str, b: str, *, raster: Path | None, samples: int | None, plot: Path | None, as_json: bool
) -> int:
    """Print where two sides first differ; exit code 0 if nowhere, 1 otherwise, as ``diff`` has it."""
    from snnkit.hw.xylo.validation.compare import compare

    with ExitStack() as stack:
        sides = [stack.enter_context(_side(text)) for text in (a, b)]
        counts = _rasters(raster, sides)[:samples]
        first, second = (_short(side.title) for side in sides)
        titles = (first, second) if first != second else (f"{first} (1)", f"{second} (2)")
        found = compare(sides[0].thing, sides[1].thing, counts, titles=titles).comparison
    if plot is not None:
        _draw(found, plot)
    if as_json:
        print_json(found.to_json())
    else:
        show(Text(str(found)))
    return 0 if found.equal else 1


def _draw(found: "Comparison", plot: Path) -> None:
    try:
        found.plot().figure.savefig(plot)
    except ValueError as error:  # a file name that ends in no format of pictures
        raise ConfigurationError(f"{plot}: {error}") from error


def _short(title: str) -> str:
    """Leave out the folders of a path, so that tables stay narrow."""
    return title.rpartition("/")[2] or title


@contextmanager
def _side(text: str) -> Iterator[_Side]:
    """Read a side; a device is let go of at the end."""
    path, (head, _, tail) = Path(text), text.rpartition(":")
    if path.suffix == ".xrec":
        text = f"replay:{text}"
    if text.partition(":")[0] in _DEVICES and ":" in text:
        from snnkit.hw import connect

        with connect(text) as session:
            yield _recorded(text, session) if text.startswith("replay:") else _Side(text, session)
    elif path.is_file():
        yield _of_file(path)
    elif path.is_dir():
        folder = existing_run(path)
        yield _Side(text, _program(folder), _vectors(folder))
    elif head and Path(head).is_dir():
        yield _net_of_run(existing_run(Path(head)), tail)
    elif head:
        yield _Side(text, load_net(text))
    else:
        raise ConfigurationError(f"{text} is none of these: {FORMS}.")


def _recorded(text: str, session: Any) -> _Side:
    """Return a recording with its program on it, and the rasters that it answers."""
    runs = [operation for operation in session.recording.operations if operation.kind == "run"]
    if not runs or not session.specifications:
        raise FileFormatError(
            f"{text} holds no run of a program: record one with connect(..., record_to=...)."
        )
    session.configure(session.specifications[0])
    return _Side(text, session, runs[0].arrays.get("raster"))


def _of_file(path: Path) -> _Side:
    from snnkit.hw.xylo import Specification

    if path.suffix != ".xylo":
        return _Side(str(path), Specification.load(path))
    from snnkit.hw.xylo.archive.xylo_file import XyloFile

    found = XyloFile.load(path)
    return _Side(str(path), found.specification, found.rasters())


def _program(folder: RunFolder) -> Any:
    from snnkit.hw.xylo import Specification

    if not folder.specification.is_file():
        raise not_deployed(folder)
    return Specification.load(folder.specification)


def _vectors(folder: RunFolder) -> np.ndarray | None:
    return read_arrays(folder.vectors)[0]["raster"] if folder.vectors.is_file() else None


def _net_of_run(folder: RunFolder, which: str) -> _Side:
    if which not in _NETS:
        raise ConfigurationError(unknown_key_message("net of a run", which, _NETS))
    title = f"{folder.path}:{which}"
    if which == "float":
        from snnkit.recipes.train_stage import load_float

        trained = load_float(folder)
        return _Side(title, trained.net, trained.prepared.test_events)
    from snnkit.recipes.finetune_stage import load_trained

    tuned = load_trained(folder)
    return _Side(title, tuned.tuned_net, tuned.prepared.test_events)


def _rasters(path: Path | None, sides: list[_Side]) -> np.ndarray:
    """Return the rasters of a file, or else those that come with a side; of two sides the recorded ones."""
    if path is None:
        known = [side.rasters for side in sides if side.rasters is not None]
        if not known:
            raise ConfigurationError(
                f"Neither {sides[0].title} nor {sides[1].title} comes with rasters: give event counts "
                "(recordings, time, channels) with --raster FILE.npy or FILE.safetensors."
            )
        recorded = [side.rasters for side in sides if side.title.startswith("replay:")]
        return next((rasters for rasters in recorded if rasters is not None), known[0])
    if path.suffix == ".safetensors":
        arrays, _ = read_arrays(path)
        if "raster" not in arrays:
            raise FileFormatError(f"{path} holds {', '.join(arrays) or 'nothing'}, but no array 'raster'.")
        return arrays["raster"]
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not a readable .npy file: {error}") from error
