"""``.xylo``: a program with its encoder, the weights it came from, and test vectors, in one file."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import snnkit
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays

from ..specification.core import Specification
from ..validation.vectors import VectorCheck, check_vectors, make_vectors, read_vectors
from .container import read_container, write_container

if TYPE_CHECKING:
    from ..deployment.deploy import Deployment

__all__ = ["XyloFile", "load_deployment", "save_deployment"]

FORMAT = "snnkit xylo deployment"
VERSION = 1
_SPECIFICATION = ("specification.json", "specification.safetensors")
_VECTORS, _ENCODER, _WEIGHTS = "vectors.safetensors", "encoder.json", "weights.safetensors"
_KNOWN = frozenset((*_SPECIFICATION, _VECTORS, _ENCODER, _WEIGHTS))
_WEIGHTS_LABEL = {"format": "snnkit weights of origin"}


@dataclass(frozen=True, eq=False)
class XyloFile:
    """What a ``.xylo`` file holds.

    Attributes:
        specification: the integer program.
        vectors: the content of a file of :func:`make_vectors`: rasters and what the program answers.
        delay: time steps by which the chip's outputs lag the network's.
        encoder: settings of what made events of recordings, as plain JSON values; empty if unknown.
        weights: arrays of the network that was deployed, by parameter; empty if unknown.
        about: texts such as title, accuracy, recipe.
        versions: of what wrote the file.
    """

    specification: Specification
    vectors: bytes
    delay: int = 0
    encoder: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: str | Path) -> Path:
        """Write the file; equal content gives equal bytes."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.specification.save(folder / _SPECIFICATION[0])
            if self.weights:
                write_arrays(folder / _WEIGHTS, self.weights, _WEIGHTS_LABEL)
            members = {file.name: file.read_bytes() for file in folder.iterdir()}
        members[_VECTORS] = self.vectors
        members[_ENCODER] = json.dumps(dict(self.encoder), sort_keys=True, allow_nan=False).encode()
        header = {
            "format": FORMAT,
            "version": VERSION,
            "chip": self.specification.chip,
            "specification": self.specification.digest,
            "delay": self.delay,
            "about": dict(self.about),
            "versions": dict(self.versions),
        }
        return write_container(path, header, members)

    @classmethod
    def load(cls, path: str | Path) -> "XyloFile":
        """Read a file.

        Raises:
            FileFormatError: it is missing, cut, altered, of another kind or version.
        """
        header, members = read_container(path, _KNOWN)
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            raise FileFormatError(
                f"{path} is no deployment of version {VERSION}: format {header.get('format')!r}, version "
                f"{header.get('version')!r}."
            )
        try:
            return cls._of(header, members)
        except FileFormatError as error:
            raise FileFormatError(f"{path} cannot be used: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise FileFormatError(f"{path} cannot be used: {error!r}") from error

    @classmethod
    def _of(cls, header: dict[str, Any], members: dict[str, bytes]) -> "XyloFile":
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for member, content in members.items():
                (folder / member).write_bytes(content)
            spec = Specification.load(folder / _SPECIFICATION[0])
            weights = read_arrays(folder / _WEIGHTS)[0] if _WEIGHTS in members else {}
        if spec.digest != header["specification"] or spec.chip != header["chip"]:
            raise FileFormatError("the program is not the one that the manifest names.")
        delay = header["delay"]
        if type(delay) is not int or delay < 0:
            raise FileFormatError(f"delay = {delay!r} is no number of time steps.")
        encoder = json.loads(members[_ENCODER])
        if not isinstance(encoder, dict):
            raise FileFormatError("the encoder's settings are no table.")
        texts = {
            key: {str(name): str(value) for name, value in header[key].items()}
            for key in ("about", "versions")
        }
        found = cls(spec, members[_VECTORS], delay, encoder, weights, **texts)
        found._vectors()
        return found

    def rasters(self) -> np.ndarray:
        """Return the rasters of the test vectors, ``(samples, time, Nin)``."""
        return self._vectors()["raster"]

    def check(self, reference_samples: int = 2) -> VectorCheck:
        """Simulate the test vectors again and compare every bit; see :func:`check_vectors`."""
        with tempfile.TemporaryDirectory() as name:
            return check_vectors(self.specification, self._written(Path(name)), reference_samples)

    def _vectors(self) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as name:
            return read_vectors(self._written(Path(name)))[0]

    def _written(self, folder: Path) -> Path:
        (folder / _VECTORS).write_bytes(self.vectors)
        return folder / _VECTORS

    def __str__(self) -> str:
        chip = get_chip(self.specification.chip)
        origin = f"{sum(a.size for a in self.weights.values())} numbers of origin" if self.weights else ""
        parts = [repr(self.specification), f"{len(self.rasters())} test vectors", origin]
        parts.append("with encoder" if self.encoder else "without encoder")
        return f"{chip.title}: {', '.join(part for part in parts if part)}"


def save_deployment(
    path: str | Path,
    program: "Deployment | Specification",
    raster: Any,
    *,
    weights: torch.nn.Module | Mapping[str, Any] | None = None,
    delay: int | None = None,
    encoder: Mapping[str, Any] | None = None,
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write a program with all that is needed to check it elsewhere to one file.

    Args:
        path: the ``.xylo`` file.
        program: what :func:`deploy` returned, or a specification.
        raster: ``(batch, time, Nin)`` event counts that become test vectors: the simulator's answers are kept
            with them. Take some that the network finds easy and some that it does not.
        weights: the network that was deployed, or its arrays by name.
        delay: time steps by which the chip's outputs lag the network's; a deployment knows it.
        encoder: settings of the encoder as plain JSON values.
        about: texts to keep, such as a title.

    Raises:
        DataError, ShapeError: rasters that are none of this program.
    """
    spec = program if isinstance(program, Specification) else program.specification
    if delay is None:
        delay = 0 if isinstance(program, Specification) else program.delay
    named = weights.state_dict() if isinstance(weights, torch.nn.Module) else dict(weights or {})
    with tempfile.TemporaryDirectory() as name:
        vectors = make_vectors(spec, raster, Path(name) / _VECTORS).read_bytes()
    versions = {"snnkit": snnkit.__version__, "torch": torch.__version__, "numpy": np.__version__}
    arrays = {name: _array(value) for name, value in named.items()}
    return XyloFile(spec, vectors, delay, encoder or {}, arrays, about or {}, versions).save(path)


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def load_deployment(path: str | Path) -> XyloFile:
    """Read a ``.xylo`` file; a byte that changed raises FileFormatError."""
    return XyloFile.load(path)
