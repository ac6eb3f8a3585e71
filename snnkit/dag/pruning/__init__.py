"""Smaller models: which channels go, the graph without them, and the proof that it is the masked model."""

from .blocks import Branch, branch_influence, drop_blocks, drop_least_influential, residual_branches
from .certificate import Certificate
from .costs import COSTS, CostModel, Costs
from .importance import Activity, BatchNormScale, Importance, Magnitude, Random, Taylor
from .learned import GateSettings, LearnedPruning
from .low_rank import compress, factorise, merge_factors, rank_names
from .prune import Pruned, keep_channels, prune, prune_iteratively
from .removal import PruningError, removable
from .selection import Plan

__all__ = [
    "COSTS",
    "Activity",
    "BatchNormScale",
    "Branch",
    "Certificate",
    "CostModel",
    "Costs",
    "GateSettings",
    "Importance",
    "LearnedPruning",
    "Magnitude",
    "Plan",
    "Pruned",
    "PruningError",
    "Random",
    "Taylor",
    "branch_influence",
    "compress",
    "drop_blocks",
    "drop_least_influential",
    "factorise",
    "keep_channels",
    "merge_factors",
    "prune",
    "prune_iteratively",
    "rank_names",
    "removable",
    "residual_branches",
]
