"""How long single alterations of a program agree with a record: the face of the compiled probe."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnkit.utilities.chips import get_chip
from snnkit.utilities.compilation import told_if_slow

from ..specification.core import Specification

__all__ = ["FIELDS", "Probe"]

FIELDS = (
    "weights_in", "weights_rec", "weights_out", "dash_syn", "dash_mem", "threshold", "bias",
    "dash_syn_out", "dash_mem_out", "threshold_out", "bias_out", "aliases",
)  # fmt: skip
"""What a kind of alteration alters; ``dash_syn`` counts the neurons of synapse 1, then those of synapse 2."""

_SHIFTS = ("weight_shift_in", "weight_shift_rec", "weight_shift_out")
_OBSERVED = ("Vmem", "Spikes", "Isyn_out", "Vmem_out", "Spikes_out")


@dataclass(frozen=True, eq=False)
class Probe:
    """One sample of a program, and what a device did on it.

    Attributes:
        spec: the program, :func:`widened`.
        counts: (time, Nin) event counts within the chip's limit.
        record: (time, neurons) arrays of the device under XyloSim's names.
    """

    spec: Specification
    counts: np.ndarray
    record: Mapping[str, np.ndarray]

    def agreed(self, variants: np.ndarray) -> np.ndarray:
        """Return for each of ``variants`` (V, 5) the steps for which the record agrees with it.

        A variant is (number in :data:`FIELDS`, row, column, value, step from which it matters). Row and
        column count as in the specification's arrays with synapse and neuron joined, synapses first; the
        value of an alias is its one target, -1 for none.
        """
        with told_if_slow("search for altered parameters"):
            from .probe_kernel import States, probe, trajectory

            spec, counts = self.spec, self.counts.astype(np.int64)
            cells = _cells(spec)
            sizes = (spec.n_synapses * spec.n_hidden, spec.n_hidden, spec.n_hidden, spec.n_out, spec.n_out)
            states = States(*(np.zeros((len(counts) + 1, size), np.int64) for size in sizes))
            trajectory(cells, counts, states)
            agreed = np.zeros(len(variants), np.int64)
            shifted = self._shifted(np.array(variants, dtype=np.int64))
            probe(cells, counts, states, self._observed(), shifted, agreed)
        return agreed

    def _shifted(self, variants: np.ndarray) -> np.ndarray:
        """Give weights the value that the chip adds."""
        variants = variants.copy()
        for kind, name in enumerate(_SHIFTS):
            chosen = variants[:, 0] == kind
            variants[chosen, 3] = (variants[chosen, 3] << getattr(self.spec, name)).astype(np.int16)
        return variants

    def _observed(self) -> tuple[np.ndarray, ...]:
        from .probe_kernel import Observed

        spec, record = self.spec, self.record
        synapses = [record.get(name) for name in ("Isyn", "Isyn2")[: spec.n_synapses]]
        known = [values for values in synapses if values is not None]
        whole = np.concatenate(known, axis=1) if len(known) == len(synapses) else None
        vmem, events, *outputs = (record.get(name) for name in _OBSERVED)
        arrays = (whole, vmem, events, *outputs)
        none = np.zeros((0, 0), np.int64)
        return Observed(*(none if a is None else np.array(a, dtype=np.int64, order="C") for a in arrays))


def _cells(spec: Specification) -> tuple[np.ndarray, ...]:
    from .probe_kernel import Cells

    chip = get_chip(spec.chip)
    weights = [getattr(spec, name) for name in FIELDS[:3]]
    weights[2] = weights[2][:, :, None]
    flat = [
        (values.astype(np.int64) << getattr(spec, shift))
        .astype(np.int16)
        .transpose(0, 2, 1)
        .reshape(len(values), -1)
        for values, shift in zip(weights, _SHIFTS, strict=True)
    ]
    dash_syn = np.concatenate([spec.dash_syn, spec.dash_syn_2][: spec.n_synapses])
    lengths = [len(row) for row in spec.aliases]
    arrays = [
        *flat,
        dash_syn,
        *(getattr(spec, name) for name in FIELDS[4:11]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.array([target for row in spec.aliases for target in row]),
        np.array([chip.core_version, chip.hidden_event_cap, chip.output_event_cap]),
    ]
    return Cells(*(np.array(values, dtype=np.int64, order="C") for values in arrays))
