"""Block pruning: whole residual branches go, and their shortcut remains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.dag_module import DagModule
from snnkit.dag.operations import Add, Identity
from snnkit.dag.pruning.folded import as_dag
from snnkit.dag.pruning.removal import PruningError
from snnkit.dag.running import watching
from snnkit.dag.vertex import InnerVertex, Vertex
from snnkit.utilities.errors import unknown_key_message

__all__ = ["Branch", "branch_influence", "drop_blocks", "drop_least_influential", "residual_branches"]


@dataclass(frozen=True, eq=False)
class Branch:
    """What is added to a shortcut.

    Args:
        path: Path of the vertex that adds.
        shortcut: Which of its operands is the shortcut, 0 or 1.
        vertices: Names of the vertices, in the same graph, that only the branch needs.
    """

    path: str
    shortcut: int
    vertices: tuple[str, ...]


def residual_branches(graph: DagModule, prefix: str = "") -> Iterator[Branch]:
    """Yield the branches of ``x + f(x)`` and ``f(x) + x`` in a graph and in those nested in it."""
    for vertex in graph.inner_vertices:
        if isinstance(vertex.module, DagModule):
            yield from residual_branches(vertex.module, f"{prefix}{vertex.name}.")
        elif _adds(vertex):
            one, other = vertex.args
            for shortcut, (skip, branch) in enumerate(((one, other), (other, one))):
                own = _own_vertices(graph, vertex, skip, branch)
                if own:
                    yield Branch(prefix + vertex.name, shortcut, own)
                    break


def _adds(vertex: InnerVertex) -> bool:
    is_add = isinstance(vertex.module, Add) or vertex.operation == "add"
    operands = [arg for arg in vertex.args if isinstance(arg, Vertex)]
    return is_add and not vertex.kwargs and len(vertex.args) == 2 and len(set(operands)) == 2


def _own_vertices(graph: DagModule, add: InnerVertex, skip: Vertex, branch: Vertex) -> tuple[str, ...]:
    """Return what only the branch needs, if it starts at the shortcut; else nothing."""
    if not isinstance(branch, InnerVertex) or not _reaches(branch, _source(skip)):
        return ()
    own: list[InnerVertex] = []
    outputs = set(graph.output_vertices)
    for vertex in reversed(graph.inner_vertices):
        readers = graph.successors_of(vertex)
        needed_elsewhere = vertex in outputs or any(r is not add and r not in own for r in readers)
        if readers and not needed_elsewhere and vertex is not skip:
            own.append(vertex)
    return tuple(vertex.name for vertex in reversed(own)) if branch in own else ()


def _source(vertex: Vertex) -> Vertex:
    """Look through vertices that pass their input on, as shortcuts often are."""
    while isinstance(vertex, InnerVertex) and isinstance(vertex.module, Identity | nn.Identity):
        vertex = vertex.predecessors[0]
    return vertex


def _reaches(start: InnerVertex, target: Vertex) -> bool:
    """Whether ``start`` is computed from ``target``."""
    seen: set[Vertex] = set()
    stack: list[Vertex] = [start]
    while stack:
        vertex = stack.pop()
        if vertex is target:
            return True
        if vertex not in seen and isinstance(vertex, InnerVertex):
            seen.add(vertex)
            stack.extend(vertex.predecessors)
    return False


def branch_influence(graph: DagModule, inputs: Sequence[Any]) -> dict[str, float]:
    """Return, by path of the addition, the size of what the branch adds, relative to the sum.

    Both are root mean squares over a run on ``inputs``.
    """
    branches = {branch.path: branch for branch in residual_branches(graph)}
    found: dict[str, float] = {}

    def watch(path: str, vertex: InnerVertex, args: Any, kwargs: Any, call: Any) -> Any:
        result = call()
        branch = branches.get(path)
        if branch is not None:
            added = args[1 - branch.shortcut]
            if isinstance(added, Tensor) and added.shape == result.shape:
                found[path] = float(added.double().norm() / result.double().norm().clamp_min(1e-300))
        return result

    quiet = graph.copy()
    nn.Module.train(quiet, False)
    with torch.no_grad(), watching(watch):
        quiet(*inputs)
    return found


def drop_blocks(graph: DagModule, paths: Sequence[str]) -> DagModule:
    """Return the graph without the branches added at ``paths``: the shortcut takes the place of the sum.

    Raises:
        PruningError: nothing is added to a shortcut at a path.
    """
    smaller = graph.copy()
    branches = {branch.path: branch for branch in residual_branches(smaller)}
    unknown = [
        unknown_key_message("residual branch", path, branches) for path in paths if path not in branches
    ]
    if unknown:
        raise PruningError("\n".join(unknown))
    vertices = dict(smaller.traverse_paths())
    # From the end, so that a branch within another is gone before it.
    for path in sorted(set(paths), key=list(branches).index, reverse=True):
        add = vertices[path]
        owner = add.dag_module
        if not isinstance(owner, DagModule) or not isinstance(add, InnerVertex):
            continue  # it went with the branch around it
        owner.replace_uses(add, add.args[branches[path].shortcut])
        owner.remove_vertex(add)
        _drop_unread(owner)
    return smaller


def _drop_unread(graph: DagModule) -> None:
    outputs = set(graph.output_vertices)
    for vertex in reversed(graph.inner_vertices):
        if vertex not in outputs and not graph.successors_of(vertex):
            graph.remove_vertex(vertex)


def drop_least_influential(model: nn.Module, inputs: Any, count: int) -> tuple[DagModule, tuple[str, ...]]:
    """Return the model without the ``count`` branches that add least, and their paths.

    Influence is measured anew after each branch: dropping one changes what the others see.

    Raises:
        PruningError: there are fewer branches.
    """
    arguments = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
    graph = as_dag(model, arguments).copy()
    dropped: list[str] = []
    for _ in range(count):
        influence = branch_influence(graph, arguments)
        if not influence:
            raise PruningError(f"{count} branches are to go, but there are only {len(dropped)}.")
        weakest = min(influence, key=influence.__getitem__)
        graph = drop_blocks(graph, [weakest])
        dropped.append(weakest)
    return graph, tuple(dropped)
