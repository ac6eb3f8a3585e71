"""What the float network does, laid out in the chip's neurons and in its time: what a program is held to."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from snnkit.utilities.errors import ConfigurationError

from ..mapping.mapped_network import MappedNetwork
from ..validation.network_side import network_trace, populations_of

__all__ = ["Teacher", "observe"]


@dataclass(frozen=True, eq=False)
class Teacher:
    """Events of the float network, int16 (samples, steps, neurons), as a chip would have to send them.

    Population by population they are delayed as on the chip, and limited to the events that the chip allows.

    Attributes:
        inputs: what arrives from outside, followed by as many empty steps as the chip's outputs lag.
        own: events of the hidden neurons themselves.
        delivered: the same with the copies that aliases add.
        copies: what an alias has brought already when a neuron fires.
        outputs: events of the output neurons.
    """

    inputs: np.ndarray
    own: np.ndarray
    delivered: np.ndarray
    copies: np.ndarray
    outputs: np.ndarray

    @property
    def samples(self) -> int:
        """Number of recordings."""
        return len(self.inputs)

    def part(self, index: np.ndarray) -> "Teacher":
        """Return some of the samples."""
        return Teacher(**{name: array[index] if array.size else array for name, array in vars(self).items()})


def observe(net: nn.Module, mapped: MappedNetwork, raster: np.ndarray) -> Teacher:
    """Run ``net`` in float64 on event counts (samples, time, Nin), from rest and without noise.

    Raises:
        ConfigurationError: the network does not hold the module of some of its neurons.
    """
    lost = [p.path for p in mapped.populations if p.path not in populations_of(net)]
    if lost:
        raise ConfigurationError(
            f"The events of {', '.join(lost)} cannot be observed, because the network holds no such module; "
            'method="orbit" compares every neuron. Deploy with method="peaks".'
        )
    chip, (_, n_hidden, n_out) = mapped.chip, mapped.shape
    counts = np.pad(raster, ((0, 0), (0, max(mapped.delays)), (0, 0)))
    paths = [population.path for population in mapped.populations]
    trace = network_trace(
        net, counts, paths, mapped.delays, title="float", quiet=True, precise=True, states=False
    )
    layers = {
        "hidden": np.zeros((*counts.shape[:2], n_hidden), np.int16),
        "output": np.zeros((*counts.shape[:2], n_out), np.int16),
    }
    caps = {"hidden": chip.hidden_event_cap, "output": chip.output_event_cap}
    for population, layer in zip(mapped.populations, trace.layers, strict=True):
        assert layer.events is not None
        events = np.minimum(layer.events, caps[population.layer])
        late = layer.delay
        place = slice(population.start, population.stop)
        layers[population.layer][:, late:, place] = events[:, : events.shape[1] - late]
    delivered, copies = _copied(layers["hidden"], mapped.aliases, chip.hidden_event_cap)
    return Teacher(
        inputs=np.minimum(counts, chip.input_event_cap).astype(np.int16),
        own=layers["hidden"],
        delivered=delivered,
        copies=copies,
        outputs=layers["output"],
    )


def _copied(own: np.ndarray, aliases: tuple[tuple[int, ...], ...], cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Copy events as a chip does, neuron after neuron; return what is delivered, and what came first."""
    if not any(aliases):
        return own, np.zeros((0, 0, 0), np.int16)
    before = np.zeros_like(own)
    delivered = np.zeros_like(own)
    for neuron, targets in enumerate(aliases):
        before[:, :, neuron] = delivered[:, :, neuron]
        delivered[:, :, neuron] = np.minimum(delivered[:, :, neuron] + own[:, :, neuron], cap)
        for target in targets:
            delivered[:, :, target] = np.minimum(delivered[:, :, target] + delivered[:, :, neuron], cap)
    return delivered, before
