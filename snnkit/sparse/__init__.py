"""Layers that are sparse in memory and in arithmetic."""

from snnkit.sparse import graph_rules  # noqa: F401 - tells the graph about these layers
from snnkit.sparse.convert import convert
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.gradients import dense_gradients
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import MaskedConv1d, MaskedConv2d, MaskedConv3d
from snnkit.sparse.memory import memory
from snnkit.sparse.models import convert_model, sparse_layers
from snnkit.sparse.report import report
from snnkit.sparse.restructure import StructureChange, change_structure
from snnkit.sparse.users import (
    new_random_basic_coo,
    new_random_basic_csr,
    prune_sparse_model,
    set_global_k,
)

__all__ = [
    "MaskedConv1d",
    "MaskedConv2d",
    "MaskedConv3d",
    "SparseLayer",
    "SparsityError",
    "StructureChange",
    "change_structure",
    "convert",
    "convert_model",
    "dense_gradients",
    "memory",
    "new_random_basic_coo",
    "new_random_basic_csr",
    "prune_sparse_model",
    "report",
    "set_global_k",
    "sparse_layers",
]
