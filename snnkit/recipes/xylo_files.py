"""A run's program as one ``.xylo`` file, and what a device did with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnkit.hw.sessions.connect import connect
from snnkit.hw.sessions.validation import DeviceValidation, validate_on
from snnkit.hw.xylo.archive.xylo_file import XyloFile, load_deployment, save_deployment
from snnkit.hw.xylo.specification.core import Specification
from snnkit.hw.xylo.validation.vectors import VectorCheck, check_vectors, read_vectors
from snnkit.recipes.chip_stages import load_program
from snnkit.recipes.metrics_file import read_metrics
from snnkit.recipes.run_folder import RunFolder
from snnkit.report.data import DeviceRun
from snnkit.utilities.errors import ConfigurationError, FileFormatError
from snnkit.utilities.files import read_arrays, read_json, write_json

__all__ = [
    "Target",
    "device_file",
    "device_run",
    "is_xylo_file",
    "load_target",
    "pack_run",
    "read_device",
    "validate_target",
]

_PACKED_VECTORS = 100
"""Test vectors that a file takes along, at most, spread over the test split."""


def is_xylo_file(path: Path | None) -> bool:
    """Whether a path names a deployment in one file."""
    return path is not None and path.suffix == ".xylo"


def device_file(path: Path) -> Path:
    """Return where the validation on a device is kept: in a run's folder, or beside a ``.xylo`` file."""
    return path.with_suffix(".device.json") if is_xylo_file(path) else path / "validation-device.json"


@dataclass(frozen=True, eq=False)
class Target:
    """What can be validated anywhere: a program and its test vectors.

    Attributes:
        path: the run's folder or the ``.xylo`` file.
        specification: the program.
        rasters: of the test vectors, ``(samples, time, Nin)``.
        check: whether the simulator still answers as it did.
    """

    path: Path
    specification: Specification
    rasters: np.ndarray
    check: VectorCheck


def load_target(path: Path) -> Target:
    """Read a run's program, or that of a ``.xylo`` file, and run its test vectors in the simulator.

    Raises:
        ConfigurationError: the run is not deployed or not simulated yet.
        FileFormatError: a file is damaged, or a byte of it changed.
    """
    if is_xylo_file(path):
        file = load_deployment(path)
        return Target(path, file.specification, file.rasters(), file.check())
    folder = RunFolder(path)
    specification, _ = load_program(folder)
    _require_vectors(folder)
    check = check_vectors(specification, folder.vectors)
    return Target(path, specification, read_vectors(folder.vectors)[0]["raster"], check)


def validate_target(
    target: Target, uri: str, record_to: Path | None, samples: int | None
) -> DeviceValidation:
    """Run test vectors of a target on a session, compare them, and write what was found beside the target."""
    rasters = target.rasters[:samples]
    with connect(uri, record_to=record_to) as session:
        found = validate_on(session, target.specification, rasters)
    write_json(device_file(target.path), found.to_json())
    return found


def read_device(folder: RunFolder) -> DeviceValidation | None:
    """Return what a device did with the run's program; None if none was asked, or another program since."""
    path = device_file(folder.path)
    if not path.is_file():
        return None
    found = DeviceValidation.from_json(read_json(path))
    specification, _ = load_program(folder)
    return found if found.specification == specification.digest else None


def device_run(folder: RunFolder) -> DeviceRun | None:
    """Return what the report shows of :func:`read_device`."""
    found = read_device(folder)
    if found is None:
        return None
    divergence = found.comparison.divergence
    told: list[str] = []
    if divergence is not None:
        told = [str(divergence), *(f"Explained by {candidate}." for candidate in divergence.candidates[:3])]
    return DeviceRun(
        uri=found.uri,
        samples=found.samples,
        values=found.values,
        different=sum(record.different for record in found.records),
        findings=tuple(told),
        measured_w={} if found.measured is None else dict(found.measured.watts),
        estimated=str(found.estimate),
        versions=dict(found.versions),
    )


def pack_run(folder: RunFolder, out: Path | None = None) -> Path:
    """Write the program of a run to one file, with encoder, weights of origin and test vectors.

    Raises:
        ConfigurationError: the run is not deployed or not simulated yet.
    """
    recipe = folder.recipe()
    specification, table = load_program(folder)
    _require_vectors(folder)
    rasters = read_vectors(folder.vectors)[0]["raster"]
    chosen = np.unique(
        np.linspace(0, len(rasters) - 1, min(len(rasters), _PACKED_VECTORS)).round().astype(int)
    )
    arrays = read_arrays(folder.tuned_net(recipe.finetuning.method))[0]
    fitted = {name.removeprefix("encoder."): a for name, a in arrays.items() if name.startswith("encoder.")}
    encoder: dict[str, Any] = recipe.as_table()["encoding"] | {
        "fitted": {name: values.tolist() for name, values in fitted.items()}
    }
    accuracy = read_metrics(folder).get("accuracy", {})
    about = {"title": recipe.title, "recipe": recipe.name, "seed": str(recipe.seed)}
    about |= {f"accuracy {stage}": f"{value:.4f}" for stage, value in accuracy.items()}
    written = save_deployment(
        out or folder.path / f"{recipe.name}-{recipe.chip}.xylo",
        specification,
        rasters[chosen],
        delay=int(table["delay"]),
        weights={n.removeprefix("parameter."): a for n, a in arrays.items() if n.startswith("parameter.")},
        encoder=encoder,
        about=about,
    )
    if not XyloFile.load(written).check(reference_samples=1).passed:
        raise FileFormatError(f"{written} does not come back as it was written.")
    return written


def _require_vectors(folder: RunFolder) -> None:
    if not folder.vectors.is_file():
        raise ConfigurationError(
            f"{folder.path} is not simulated yet. Do so with: snnkit simulate {folder.path}"
        )
