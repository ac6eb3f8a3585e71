"""Editing graphs: vertex by vertex, by pattern, and by ready passes."""

from .folding import fold_weights
from .passes import ACTIVATIONS, fuse_batch_norms, insert_batch_norms, swap, swap_activations
from .patterns import ANY, Match, Pattern, Rewriting, chain, find, rewrite
from .vertices import insert_after, insert_before, insert_between, remove, unwrap, wrap

__all__ = [
    "ACTIVATIONS",
    "ANY",
    "Match",
    "Pattern",
    "Rewriting",
    "chain",
    "find",
    "fold_weights",
    "fuse_batch_norms",
    "insert_after",
    "insert_batch_norms",
    "insert_before",
    "insert_between",
    "remove",
    "rewrite",
    "swap",
    "swap_activations",
    "unwrap",
    "wrap",
]
