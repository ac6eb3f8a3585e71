"""Smaller models: which channels go, the graph without them, and the proof that it is the masked model."""

from .certificate import Certificate
from .costs import COSTS, CostModel, Costs
from .importance import Activity, BatchNormScale, Importance, Magnitude, Random, Taylor
from .prune import Pruned, keep_channels, prune, prune_iteratively
from .removal import PruningError, removable
from .selection import Plan

__all__ = [
    "COSTS",
    "Activity",
    "BatchNormScale",
    "Certificate",
    "CostModel",
    "Costs",
    "Importance",
    "Magnitude",
    "Plan",
    "Pruned",
    "PruningError",
    "Random",
    "Taylor",
    "keep_channels",
    "prune",
    "prune_iteratively",
    "removable",
]
