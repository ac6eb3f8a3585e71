"""Whole nets between dense and sparse weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from snnkit.nn.modules.lif import LIFTorch
from snnkit.nn.modules.linear import LinearTorch
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.spiking.lif import SparseLIFTorch
from snnkit.sparse.spiking.linear import SparseLinearTorch
from snnkit.utilities.errors import unknown_key_message

__all__ = ["dense_spiking", "sparse_spiking"]


def sparse_spiking(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> Any:
    """Give the linear and recurrent weights of a spiking net sparse modules, in place.

    Modules that occur several times do so afterwards; subclasses of ``LinearTorch`` and ``LIFTorch`` stay.

    Args:
        model: a net, or one module.
        masks: bool masks ``(sources, targets)`` by the names of the weights, such as ``0_LinearTorch.weight``
            and ``1_LIFTorch.w_rec``: what pruning returns. Only these become sparse. Without masks all do,
            and weights that are zero are dropped.

    Returns:
        The model itself; for a single module its twin.

    Raises:
        SparsityError: a mask names no such weight, does not fit, or leaves nothing; the model is as it was.
    """
    twins: dict[nn.Module, nn.Module] = {}
    wanted = {} if masks is None else dict(masks)
    known: list[str] = []
    for path, module in nn.Module.named_modules(model, remove_duplicate=False):
        name = _weight_of(module)
        if name is None:
            continue
        full = f"{path}.{name}" if path else name
        known.append(full)
        if masks is None or full in wanted:
            kind: Any = SparseLinearTorch if name == "weight" else SparseLIFTorch
            twins.setdefault(module, kind.from_dense(module, wanted.get(full)))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SparsityError("\n".join(unknown_key_message("weight", name, known) for name in unknown))
    return _replaced(model, twins)


def dense_spiking(model: nn.Module) -> Any:
    """Give a net dense modules in the place of its sparse spiking ones, in place; weights not there are 0.

    Returns:
        The model itself; for a single module its twin.
    """
    sparse = (SparseLinearTorch, SparseLIFTorch)
    found: dict[nn.Module, nn.Module] = {
        module: module.to_dense() for module in nn.Module.modules(model) if isinstance(module, sparse)
    }
    return _replaced(model, found)


def _weight_of(module: nn.Module) -> str | None:
    if type(module) is LinearTorch:
        return "weight"
    return "w_rec" if type(module) is LIFTorch and module.w_rec is not None else None


def _replaced(model: nn.Module, twins: Mapping[nn.Module, nn.Module]) -> nn.Module:
    if model in twins:
        return twins[model]
    for module in list(nn.Module.modules(model)):
        for name, child in module._modules.items():
            if child is not None and child in twins:
                module._modules[name] = twins[child]
    return model
