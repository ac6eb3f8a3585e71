"""Low-rank compression: layers as two thinner ones, whose rank is a group of channels like any other.

``W = U diag(s) V`` becomes a layer with the rows ``sqrt(s) V`` and one with the columns ``U sqrt(s)``. The
axis between them, the rank, can then be pruned by singular value (:func:`compress`), or learned with gates:
``LearnedPruning(factorise(model, inputs), inputs, Plan(budget=..., only=rank_names(graph)))``.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.channels import Coupling, coupling
from snnkit.dag.dag_module import DagModule
from snnkit.dag.pruning.costs import CostModel
from snnkit.dag.pruning.folded import as_dag
from snnkit.dag.pruning.importance import Magnitude
from snnkit.dag.pruning.prune import Keep, Pruned, keep_channels
from snnkit.dag.pruning.selection import Plan, choose
from snnkit.dag.vertex import InnerVertex
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["compress", "factorise", "merge_factors", "rank_names"]

_DOWN, _UP = "down", "up"


def factorise(model: nn.Module, example_inputs: Any, layers: Iterable[str] | None = None) -> DagModule:
    """Return the model with linear layers and convolutions as pairs of full rank: the same function.

    Args:
        model: Any module, or its graph; it is not changed.
        example_inputs: A tensor or the positional arguments.
        layers: Paths of the layers; by default all linear layers and convolutions of one group whose rank can
            fall below the width at which two layers cost less than one.

    Raises:
        ConfigurationError: a path is none of such a layer.
    """
    inputs = tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)
    graph = as_dag(model, inputs).copy()
    found = {
        path: vertex
        for path, vertex in graph.traverse_paths()
        if isinstance(vertex, InnerVertex) and _is_layer(vertex.module)
    }
    chosen = (
        [path for path, v in found.items() if _break_even(v.module) > 1] if layers is None else list(layers)
    )
    unknown = [unknown_key_message("layer", path, found) for path in chosen if path not in found]
    if unknown:
        raise ConfigurationError("\n".join(unknown))
    pairs: dict[int, DagModule] = {}
    for path in chosen:
        layer = found[path].module
        found[path].module = pairs.setdefault(id(layer), _pair(layer, path.rsplit(".", 1)[-1]))
    return graph


def rank_names(graph: DagModule) -> tuple[str, ...]:
    """Return the names of the weights whose first axis is a rank: for ``Plan(only=...)``."""
    return tuple(f"{path}.{_DOWN}.weight" for path, _ in _pairs_of(graph))


def _is_layer(module: nn.Module) -> bool:
    return type(module) is nn.Linear or (isinstance(module, nn.Conv2d | nn.Conv1d) and module.groups == 1)


def _matrix(layer: Any) -> Tensor:
    """Return the weight as a matrix: outputs times all that is summed."""
    return layer.weight.detach().flatten(1)


def _break_even(layer: Any) -> int:
    """Return the rank from which two layers have as many weights as one."""
    rows, columns = _matrix(layer).shape
    return rows * columns // (rows + columns)


def _pair(layer: Any, name: str) -> DagModule:
    matrix = _matrix(layer).double()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    root = values.sqrt()
    rank = len(values)
    down, up = _empty_pair(layer, rank)
    with torch.no_grad():
        down.weight.copy_((root[:, None] * right).reshape(down.weight.shape))
        up.weight.copy_((left * root).reshape(up.weight.shape))
        if layer.bias is not None:
            up.bias.copy_(layer.bias)
    graph = DagModule(name)
    data = graph.add_input_vertex("input")
    first = graph.add_vertex(_DOWN, down, [data])
    graph.mark_as_output(graph.add_vertex(_UP, up, [first]))
    return graph.train(layer.training)


def _empty_pair(layer: Any, rank: int) -> tuple[Any, Any]:
    where = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        down = nn.Linear(layer.in_features, rank, bias=False, **where)
        return down, nn.Linear(rank, layer.out_features, bias=bias, **where)
    cls = type(layer)
    taps = {
        name: getattr(layer, name)
        for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    }
    down = cls(layer.in_channels, rank, bias=False, **taps, **where)
    return down, cls(rank, layer.out_channels, 1, bias=bias, **where)


def _pairs_of(graph: DagModule) -> list[tuple[str, InnerVertex]]:
    found = []
    for path, vertex in graph.traverse_paths():
        inner = vertex.module if isinstance(vertex, InnerVertex) else None
        if isinstance(inner, DagModule) and [v.name for v in inner.inner_vertices] == [_DOWN, _UP]:
            found.append((path, vertex))
    return [(path, vertex) for path, vertex in found if isinstance(vertex, InnerVertex)]


def merge_factors(graph: DagModule) -> DagModule:
    """Return the graph with pairs that cost no less than one layer as one layer again."""
    merged = graph.copy()
    layers: dict[int, nn.Module] = {}
    for _, vertex in _pairs_of(merged):
        pair = vertex.module
        assert isinstance(pair, DagModule)
        down, up = (inner.module for inner in pair.inner_vertices)
        single = layers.get(id(pair)) or _single(down, up)
        if len(_matrix(down)) >= _break_even(single):
            layers[id(pair)] = vertex.module = single
    return merged


def _single(down: Any, up: Any) -> Any:
    bias = up.bias is not None
    where = {"device": up.weight.device, "dtype": up.weight.dtype}
    if isinstance(down, nn.Linear):
        layer: Any = nn.Linear(down.in_features, up.out_features, bias=bias, **where)
    else:
        taps = {n: getattr(down, n) for n in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        layer = type(down)(down.in_channels, up.out_channels, bias=bias, **taps, **where)
    with torch.no_grad():
        product = _matrix(up).double() @ _matrix(down).double()
        layer.weight.copy_(product.reshape(layer.weight.shape))
        if bias:
            layer.bias.copy_(up.bias)
    return layer.train(up.training)


def compress(model: nn.Module, example_inputs: Any, plan: Plan, *, verify: bool = True) -> Pruned:
    """Factorise, and drop the smallest singular values of all layers down to the plan's budget.

    Shares of the budget refer to the model as it is. Layers whose rank stays above the break-even are
    whole again in the result, so it may cost less than the budget allows.

    Args:
        model: Any module, or its graph; it is not changed.
        example_inputs: A tensor or the positional arguments.
        plan: Its budget, or its ratio of singular values to drop; ``only`` and ``ignore`` are set here.
        verify: As for :func:`~snnkit.dag.pruning.prune`.

    Raises:
        ConfigurationError: the budget cannot be met.
    """
    inputs = tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)
    whole = CostModel(coupling(as_dag(model, inputs), inputs))({})
    graph = factorise(model, inputs)
    limits = {n: b * getattr(whole, n) if b <= 1 else b for n, b in plan.budget.items()}
    wanted = replace(
        plan, budget=limits, ranking="global", normalise="max", only=rank_names(graph), max_ratio=0.99
    )

    def chosen(dag: DagModule, found: Coupling, cost_model: CostModel) -> Keep:
        # Rows and columns of a pair have the norm sqrt(s): ranks are ordered by singular value.
        scores = Magnitude()(dag, found)
        return choose(wanted, found, scores, cost_model)

    pruned = keep_channels(graph, inputs, chosen, verify=verify, fold_weights=plan.fold_weights)
    merged = merge_factors(pruned.model)
    after = CostModel(coupling(merged, inputs))({})
    return replace(pruned, model=merged, before=whole, after=after)
