"""Test vectors: rasters with what a program answers to them, to show elsewhere that the same program runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnkit.utilities.errors import DataError, FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays

from ..simulator.rasters import read_raster
from ..simulator.reference import reference_run
from ..simulator.xylo_sim import XyloSim
from ..specification.core import Specification

__all__ = ["VectorCheck", "check_vectors", "make_vectors", "read_vectors"]

FORMAT = "snnkit-xylo-vectors"
VERSION = "1"
_RECORDS = ("Spikes", "Vmem_out", "Isyn_out")


@dataclass(frozen=True)
class VectorCheck:
    """What :func:`check_vectors` found.

    Attributes:
        same_program: the vectors were made of this very specification.
        samples: rasters that were simulated again.
        referenced: how many of them ran through the plain reference too.
        differences: for each array that differs, where first; empty if all bits agree.
    """

    same_program: bool
    samples: int
    referenced: int
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the program is the same and every bit agrees."""
        return self.same_program and not self.differences

    def __str__(self) -> str:
        if self.passed:
            return (
                f"{self.samples} vectors agree bit for bit, {self.referenced} of them with the reference too."
            )
        lines = [] if self.same_program else ["The vectors were made of another program."]
        return "\n".join([*lines, *self.differences])


def make_vectors(spec: Specification, raster: Any, path: str | Path) -> Path:
    """Run ``raster`` (batch, time, Nin) from rest and write it with the answer to a safetensors file."""
    checked = read_raster(raster, spec.n_in)
    if not checked.counts.size:
        raise DataError("Test vectors need at least one sample with one time step.")
    arrays = _answer(spec, checked.counts) | {"raster": checked.counts}
    metadata = {"format": FORMAT, "version": VERSION, "chip": spec.chip, "digest": spec.digest}
    return write_arrays(path, arrays, metadata)


def read_vectors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a vector file, and its labels; FileFormatError if it is none."""
    arrays, metadata = read_arrays(path)
    missing = {"raster", "Spikes_out", *_RECORDS} - arrays.keys()
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION or missing:
        raise FileFormatError(
            f"{Path(path).name} holds no Xylo test vectors of version {VERSION}: make them with make_vectors."
        )
    return arrays, metadata


def check_vectors(spec: Specification, path: str | Path, reference_samples: int = 2) -> VectorCheck:
    """Simulate the rasters of a vector file again and compare every bit.

    The first ``reference_samples`` also run through the plain reference, which shares no code with the
    simulator's kernels.

    Raises:
        FileFormatError: if the file is damaged or not of this kind.
        ShapeError: if the program has another number of inputs.
    """
    arrays, metadata = read_vectors(path)
    raster = arrays.pop("raster")
    differences = _differences(arrays, _answer(spec, raster), "the simulator now")
    referenced = min(reference_samples, len(raster))
    for sample in range(referenced):
        record, _, _ = reference_run(spec, raster[sample])
        expected = {name: values[sample] for name, values in arrays.items()}
        differences += _differences(expected, record, f"the reference (sample {sample})")
    return VectorCheck(metadata.get("digest") == spec.digest, len(raster), referenced, tuple(differences))


def _answer(spec: Specification, raster: np.ndarray) -> dict[str, np.ndarray]:
    output, _, record = XyloSim(spec)(raster.reshape(-1, *raster.shape[-2:]), record=True)
    return {"Spikes_out": output.astype(np.int8)} | {name: record[name] for name in _RECORDS}


def _differences(stored: dict[str, np.ndarray], found: dict[str, np.ndarray], who: str) -> list[str]:
    lines = []
    for name, values in stored.items():
        if values.shape != found[name].shape:
            lines.append(f"{name}: stored {values.shape}, {who} gives {found[name].shape}.")
        elif not np.array_equal(values, found[name]):
            place = tuple(int(i) for i in np.argwhere(values != found[name])[0])
            lines.append(f"{name}{list(place)}: stored {values[place]}, {who} gives {found[name][place]}.")
    return lines
