"""Spiking modules with sparse weights, and their training within the limits of a chip."""

from snnkit.sparse.spiking import graph_rules  # noqa: F401 - tells the graph about these modules
from snnkit.sparse.spiking.convert import dense_spiking, sparse_spiking
from snnkit.sparse.spiking.cost import synaptic_events
from snnkit.sparse.spiking.lif import SparseLIFTorch
from snnkit.sparse.spiking.limits import ChipLimits
from snnkit.sparse.spiking.linear import SparseLinearTorch
from snnkit.sparse.spiking.training import ChipPruning, ChipTraining
from snnkit.sparse.synapses import Synapses

__all__ = [
    "ChipLimits",
    "ChipPruning",
    "ChipTraining",
    "SparseLIFTorch",
    "SparseLinearTorch",
    "Synapses",
    "dense_spiking",
    "sparse_spiking",
    "synaptic_events",
]
