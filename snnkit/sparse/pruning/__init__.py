"""Pruning of single weights: which stay, how many where, and training that keeps it so.

Whole channels, heads and blocks go with :mod:`snnkit.dag.pruning` instead, which makes the model smaller.
"""

from .allocation import ALLOCATIONS, allocate, apportion, kept_total
from .caps import CappedMask, capped_mask
from .choosing import pattern_masks, prune_masks, prune_weights
from .counting import Sparsity, sparsity_of
from .criteria import (
    CRITERIA,
    Criterion,
    Grasp,
    Magnitude,
    OrbitInvariant,
    Random,
    Snip,
    SynFlow,
    Wanda,
    criterion_named,
)
from .dynamic import SparseTraining, rewired
from .gradual import GradualPruning
from .holding import MaskHolder, hold_masks
from .interchange import from_torch_prune, masks_from_transforms, to_torch_prune, torch_prune_masks
from .mask_files import load_masks, save_masks
from .masks import Masks, apply_masks, masks_of
from .movement import Movement
from .patterns import (
    Blocks,
    Caps,
    Columns,
    NofM,
    Pattern,
    Rows,
    block_mask,
    column_mask,
    n_of_m_mask,
    row_mask,
)
from .scores import (
    grasp_score,
    magnitude_score,
    movement_score,
    orbit_score,
    random_score,
    snip_score,
    synflow_score,
    wanda_score,
)
from .weights import PrunableWeight, prunable_weights

__all__ = [
    "ALLOCATIONS",
    "CRITERIA",
    "Blocks",
    "CappedMask",
    "Caps",
    "Columns",
    "Criterion",
    "GradualPruning",
    "Grasp",
    "Magnitude",
    "MaskHolder",
    "Masks",
    "Movement",
    "NofM",
    "OrbitInvariant",
    "Pattern",
    "PrunableWeight",
    "Random",
    "Rows",
    "Snip",
    "SparseTraining",
    "Sparsity",
    "SynFlow",
    "Wanda",
    "allocate",
    "apply_masks",
    "apportion",
    "block_mask",
    "capped_mask",
    "column_mask",
    "criterion_named",
    "from_torch_prune",
    "grasp_score",
    "hold_masks",
    "kept_total",
    "load_masks",
    "magnitude_score",
    "masks_from_transforms",
    "masks_of",
    "movement_score",
    "n_of_m_mask",
    "orbit_score",
    "pattern_masks",
    "prunable_weights",
    "prune_masks",
    "prune_weights",
    "random_score",
    "rewired",
    "row_mask",
    "save_masks",
    "snip_score",
    "sparsity_of",
    "synflow_score",
    "to_torch_prune",
    "torch_prune_masks",
    "wanda_score",
]
