"""How much of a chip a laid-out network takes."""

import numpy as np

from .mapped_network import MappedNetwork
from .network_limits import bank_use, fan_outs
from .resource import Resource

__all__ = ["resources_of"]


def resources_of(mapped: MappedNetwork) -> tuple[Resource, ...]:
    """Return every resource in the order in which a data sheet lists them."""
    chip, (n_in, n_hidden, n_out) = mapped.chip, mapped.shape
    counts = fan_outs(mapped)
    rows = [
        ("input channels", n_in, chip.max_inputs),
        ("hidden neurons", n_hidden, chip.max_hidden),
        ("output neurons", n_out, chip.max_outputs),
        ("synapses per hidden neuron", mapped.n_synapses, chip.hidden_synapses),
        ("neurons that take input", mapped.weights_in.shape[1], chip.max_input_expansion),
        ("neurons that drive outputs", mapped.weights_out.shape[0], chip.max_output_expansion),
        ("largest recurrent fan-out", int(counts.max(initial=0)), chip.max_fanout),
    ]
    rows += [
        (f"recurrent weights, synapse {synapse + 1}", used, chip.max_recurrent_weights)
        for synapse, used in enumerate(bank_use(mapped))
    ]
    mean = float(counts.sum()) / chip.max_hidden
    rows += [
        ("mean fan-out over the chip", round(mean, 2), chip.mean_fanout_per_synapse * chip.hidden_synapses),
        ("alias targets per neuron", max(map(len, mapped.aliases), default=0), chip.max_alias_targets),
        ("neurons with a bias", _biased(mapped), n_hidden + n_out if chip.has_bias else 0),
    ]
    return tuple(Resource(name, used, limit) for name, used, limit in rows)


def _biased(mapped: MappedNetwork) -> int:
    hidden = (mapped.bias != 0) | (mapped.synaptic_bias != 0).any(axis=1)
    output = (mapped.bias_out != 0) | (mapped.synaptic_bias_out != 0)
    return int(np.count_nonzero(hidden) + np.count_nonzero(output))
