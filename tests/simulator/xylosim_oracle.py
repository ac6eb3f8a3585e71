"""Drives xylosim's compiled core with a Specification, for comparison."""

import numpy as np

from snnkit.hw.xylo.specification.core import Specification
from snnkit.utilities.chips import get_chip


def _rows(weights, shift_rows, xylo_synapse):
    """Synapses of each source, in the order of Rockpool's wrapper: synapse 0 first."""
    rows = [[] for _ in range(shift_rows)]
    for row in weights:
        entries = [
            xylo_synapse(int(k), s, int(row[k, s]))
            for s in range(row.shape[1])
            for k in np.flatnonzero(row[:, s])
        ]
        rows.append(entries)
    return rows


class XylosimOracle:
    """One xylosim layer that runs a specification; state is kept between calls."""

    def __init__(self, spec: Specification) -> None:
        import xylosim.v1
        import xylosim.v2

        self.version = get_chip(spec.chip).core_version
        self.two_synapses = spec.n_synapses == 2
        core = xylosim.v1 if self.version == 1 else xylosim.v2
        silent = spec.n_hidden - spec.weights_out.shape[0]
        bias = (
            [bool(spec.bias.any() or spec.bias_out.any()), spec.bias.tolist(), spec.bias_out.tolist()]
            if self.version == 2
            else []
        )
        dash_syns = np.stack([spec.dash_syn, spec.dash_syn_2], axis=1)[:, : spec.n_synapses].tolist()
        # The layer keeps pointers to the synapses, not copies: they must outlive it.
        self.synapses = [
            _rows(spec.weights_in, 0, core.XyloSynapse),
            _rows(spec.weights_rec, 0, core.XyloSynapse),
            _rows(spec.weights_out[:, :, None], silent, core.XyloSynapse),
        ]
        self.layer = core.XyloLayer(
            *self.synapses,
            [list(targets) for targets in spec.aliases],
            spec.threshold.tolist(),
            spec.threshold_out.tolist(),
            *bias,
            spec.weight_shift_in,
            spec.weight_shift_rec,
            spec.weight_shift_out,
            spec.dash_mem.tolist(),
            spec.dash_mem_out.tolist(),
            dash_syns,
            [[d] for d in spec.dash_syn_out.tolist()],
            "oracle",
        )

    def run(self, raster: np.ndarray) -> dict[str, np.ndarray]:
        out = self.layer.evolve(raster.tolist())
        layer = self.layer
        by_time = {"Spikes_out": out, "Spikes": layer.rec_recurrent_spikes}
        by_neuron = {
            "Vmem": layer.rec_v_mem,
            "Isyn": layer.rec_i_syn,
            "Vmem_out": layer.rec_v_mem_out,
            "Isyn_out": layer.rec_i_syn_out,
        }
        if self.two_synapses:
            by_neuron["Isyn2"] = layer.rec_i_syn2
        if self.version == 2:
            by_time["Hibernation"] = layer.rec_hibernation_mode
        return {name: np.array(values) for name, values in by_time.items()} | {
            name: np.array(values).T for name, values in by_neuron.items()
        }
