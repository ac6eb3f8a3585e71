"""The integer program of one Xylo chip: what the quantiser makes and every backend runs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .structure import (
    ARRAYS,
    SHIFTS,
    Population,
    SpecificationError,
    contradictions,
    normalised,
)

if TYPE_CHECKING:
    from snnkit.utilities.chips import Chip

    from ..configuration.objects import XyloConfiguration
    from ..violation import Violation

__all__ = ["ARRAYS", "SHIFTS", "Population", "Specification", "SpecificationError"]


@dataclass(frozen=True, eq=False)
class Specification:
    """An integer program for one Xylo chip; immutable, its arrays are read-only copies.

    Neuron counts: ``Nin`` inputs, ``Nhid`` hidden, ``Nout`` outputs, ``S`` synapses of a hidden
    neuron (1 or 2), ``Nien`` neurons that take input, ``Noen`` neurons that drive outputs.

    The constructor checks that the arrays fit each other and their integer types, no more: a
    program that is too large for its chip can still be simulated. :meth:`violations` tells
    what the chip itself would refuse. :meth:`create` also fills in what is left out.

    Attributes:
        chip: name in the chip table, such as ``"imu"``.
        weights_in: int8 (Nin, Nien, S); targets are the first ``Nien`` hidden neurons.
        weights_rec: int8 (Nhid, Nhid, S), indexed source, target, synapse.
        weights_out: int8 (Noen, Nout); sources are the last ``Noen`` hidden neurons.
        dash_mem: uint8 (Nhid,), bit shift of the membrane's decay ``v -= v >> dash``.
        dash_syn: uint8 (Nhid,), the same for synapse 1.
        dash_syn_2: uint8 (Nhid,), the same for synapse 2; unused if ``S`` is 1.
        dash_mem_out: uint8 (Nout,).
        dash_syn_out: uint8 (Nout,).
        threshold: int16 (Nhid,).
        threshold_out: int16 (Nout,).
        bias: int16 (Nhid,), added to the membrane in each time step.
        bias_out: int16 (Nout,).
        weight_shift_in: left shift of all input weights, 0..15.
        weight_shift_rec: left shift of all recurrent weights.
        weight_shift_out: left shift of all output weights.
        aliases: for each hidden neuron the hidden neurons that receive a copy of its events.
        dt: time step in seconds.
        populations: where the neurons come from; may be empty.

    Raises:
        SpecificationError: naming everything that does not fit.
    """

    chip: str
    weights_in: np.ndarray
    weights_rec: np.ndarray
    weights_out: np.ndarray
    dash_mem: np.ndarray
    dash_mem_out: np.ndarray
    dash_syn: np.ndarray
    dash_syn_2: np.ndarray
    dash_syn_out: np.ndarray
    threshold: np.ndarray
    threshold_out: np.ndarray
    bias: np.ndarray
    bias_out: np.ndarray
    weight_shift_in: int
    weight_shift_rec: int
    weight_shift_out: int
    aliases: tuple[tuple[int, ...], ...]
    dt: float
    populations: tuple[Population, ...] = ()

    def __post_init__(self) -> None:
        problems: list[str] = []
        values = normalised(self, problems)
        if not problems:
            problems = contradictions(values)
        if problems:
            raise SpecificationError("Not a specification:\n" + "\n".join(f"  - {p}" for p in problems))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def create(
        cls,
        *,
        chip: "str | Chip",
        weights_in: Any,
        weights_out: Any,
        weights_rec: Any = None,
        dash_mem: Any = None,
        dash_mem_out: Any = None,
        dash_syn: Any = None,
        dash_syn_2: Any = None,
        dash_syn_out: Any = None,
        threshold: Any = None,
        threshold_out: Any = None,
        bias: Any = None,
        bias_out: Any = None,
        weight_shift_in: int = 0,
        weight_shift_rec: int = 0,
        weight_shift_out: int = 0,
        aliases: Any = None,
        dt: float | None = None,
        populations: tuple[Population, ...] = (),
    ) -> "Specification":
        """Make a specification from lists, numpy arrays or torch tensors of whole numbers.

        Weights of hidden neurons may leave out the synapse axis. A scalar is taken for every neuron.
        Left out: no recurrence, dashes 1, thresholds 1, no bias, no aliases, the chip's default ``dt``.

        Raises:
            SpecificationError: if the values are not whole numbers or do not fit each other.
        """
        given = {**locals()}
        del given["cls"]
        from .defaults import filled

        return cls(**filled(given))

    @property
    def n_in(self) -> int:
        """Input channels."""
        return self.weights_in.shape[0]

    @property
    def n_hidden(self) -> int:
        """Hidden neurons."""
        return self.weights_rec.shape[0]

    @property
    def n_out(self) -> int:
        """Output neurons."""
        return self.weights_out.shape[1]

    @property
    def n_synapses(self) -> int:
        """Synaptic states of a hidden neuron."""
        return self.weights_in.shape[2]

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(Nin, Nhid, Nout)``."""
        return self.n_in, self.n_hidden, self.n_out

    @property
    def digest(self) -> str:
        """SHA-256 of the whole content, as hexadecimal text."""
        header = {name: getattr(self, name) for name in ("chip", *SHIFTS, "aliases", "dt")}
        header["populations"] = [[p.path, p.layer, p.start, p.stop] for p in self.populations]
        header["shapes"] = [getattr(self, name).shape for name in ARRAYS]
        checksum = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for name in ARRAYS:
            checksum.update(getattr(self, name).tobytes())
        return checksum.hexdigest()

    def violations(self) -> "tuple[Violation, ...]":
        """Return everything that the chip would refuse; empty if the program fits."""
        from .limits import specification_violations

        return specification_violations(self)

    def save(self, path: str | Path) -> Path:
        """Write ``path.json`` and, for the arrays, ``path.safetensors``; return the first path."""
        from .files import save_specification

        return save_specification(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Specification":
        """Read what :meth:`save` wrote; a damaged file raises FileFormatError."""
        from .files import load_specification

        return load_specification(path)

    def to_rockpool_dict(self) -> dict[str, Any]:
        """Return the program under Rockpool's keys, in the shapes its mapper gives for this chip."""
        from .rockpool_dict import to_rockpool_dict

        return to_rockpool_dict(self)

    @classmethod
    def from_rockpool_dict(cls, spec: Mapping[str, Any], chip: "str | Chip") -> "Specification":
        """Read the dict of Rockpool's mapper and quantisers (whole numbers only)."""
        from .rockpool_dict import from_rockpool_dict

        return from_rockpool_dict(spec, chip)

    def to_configuration(self) -> "XyloConfiguration":
        """Return a chip configuration, an object with the vendor's attributes."""
        from ..configuration.conversion import configuration_from_specification

        return configuration_from_specification(self)

    @classmethod
    def from_configuration(cls, config: Any, dt: float | None = None) -> "Specification":
        """Read a chip configuration, ours or the vendor's; it holds no time step."""
        from ..configuration.conversion import specification_from_configuration

        return specification_from_configuration(config, dt)

    def to_samna_json(self) -> str:
        """Return the vendor's configuration JSON (Xylo-Audio 2: the one chip whose format is known)."""
        from ..configuration.samna_json import specification_to_json

        return specification_to_json(self)

    @classmethod
    def from_samna_json(cls, text: str, dt: float | None = None) -> "Specification":
        """Read the vendor's configuration JSON of a Xylo-Audio 2; it holds no time step."""
        from ..configuration.samna_json import specification_from_json

        return specification_from_json(text, dt)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Specification):
            return NotImplemented
        plain = (f.name for f in fields(self) if f.name not in ARRAYS)
        return all(getattr(self, name) == getattr(other, name) for name in plain) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ARRAYS
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        recurrent = int(np.count_nonzero(self.weights_rec))
        return (
            f"Specification({self.chip}: {self.n_in} inputs, {self.n_hidden} hidden neurons, "
            f"{self.n_out} outputs, {recurrent} recurrent weights, dt {self.dt:g} s)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled numpy arrays are writeable again; the constructor freezes them.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))
