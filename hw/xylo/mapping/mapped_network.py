"""A network laid out over a chip's neurons, still in float: what lowering gives and quantising takes."""

from dataclasses import dataclass

import numpy as np

from snnkit.utilities.chips import Chip

from ..specification.core import Population

__all__ = ["MappedNetwork"]


@dataclass(frozen=True, eq=False)
class MappedNetwork:
    """Float arrays in the layout of :class:`Specification`; float64, in the units of the network.

    Attributes:
        chip: the chip it is laid out for.
        weights_in: (Nin, Nien, S), onto the first ``Nien`` hidden neurons.
        weights_rec: (Nhid, Nhid, S), source, target, synapse; left out, (0, 0, S), for networks that are
            far too large for the chip.
        weights_out: (Noen, Nout), from the last ``Noen`` hidden neurons.
        decay_mem: (Nhid,) factor by which membranes decay in a step.
        decay_syn: (Nhid, S).
        decay_mem_out: (Nout,).
        decay_syn_out: (Nout,).
        threshold: (Nhid,).
        threshold_out: (Nout,).
        bias: (Nhid,) added to the membrane in a step.
        bias_out: (Nout,).
        synaptic_bias: (Nhid, S) added to the synapses in a step: the biases of linear layers. A chip has
            no such input; see :func:`snnkit.transforms.scaling.fold_bias` for what stands in for it.
        synaptic_bias_out: (Nout,).
        aliases: for each hidden neuron those that receive a copy of its events.
        dt: time step in seconds.
        populations: which neurons come from which module.
        max_spikes: for each population the events per step that its module allows a neuron (the largest).
        delay: steps by which the chip's outputs lag the network's.
        delays: the same for each population.
        notes: what the chip does differently, in sentences.
    """

    chip: Chip
    weights_in: np.ndarray
    weights_rec: np.ndarray
    weights_out: np.ndarray
    decay_mem: np.ndarray
    decay_syn: np.ndarray
    decay_mem_out: np.ndarray
    decay_syn_out: np.ndarray
    threshold: np.ndarray
    threshold_out: np.ndarray
    bias: np.ndarray
    bias_out: np.ndarray
    synaptic_bias: np.ndarray
    synaptic_bias_out: np.ndarray
    aliases: tuple[tuple[int, ...], ...]
    dt: float
    populations: tuple[Population, ...]
    max_spikes: tuple[float, ...]
    delay: int
    delays: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(Nin, Nhid, Nout)``."""
        return self.weights_in.shape[0], self.threshold.shape[0], self.threshold_out.shape[0]

    @property
    def n_synapses(self) -> int:
        """Synaptic states of a hidden neuron."""
        return self.weights_rec.shape[2]
