"""Finding and rewriting parts of graphs by pattern."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import leaves, map_leaves
from ..capture.verification import in_other_mode, preserved, same_conditions
from ..copying import share_graph
from ..dag_module import DagModule
from ..errors import GraphError, VerificationError
from ..vertex import InnerVertex, Vertex

__all__ = ["ANY", "Match", "Pattern", "Rewriting", "chain", "find", "rewrite"]

Kind = type[nn.Module] | str | Callable[[InnerVertex], bool]

_COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum"})


@dataclass(frozen=True, eq=False)
class Pattern:
    """What a vertex must be, and what it must read.

    >>> convolution = Pattern(nn.Conv2d, name="conv")
    >>> pattern = Pattern("relu", Pattern(nn.BatchNorm2d, convolution, name="bn"))

    A pattern object that occurs twice stands for one vertex: ``x = Pattern(); Pattern("mul", x,
    Pattern("sigmoid", x))``. The two values of a sum or a product may stand in either order.

    Args:
        kind: A class of layers, the name of a function, a predicate on vertices, or a tuple of those. None
            for any value, inputs included: what it stands for is read by the match, and no part of it.
        inputs: Patterns for the values read, in order; without them anything may be read.
        name: Under which the match gives the vertex.
    """

    kind: Kind | tuple[Kind, ...] | None = None
    inputs: tuple["Pattern", ...] = ()
    name: str = ""

    def __init__(self, kind: Any = None, *inputs: "Pattern", name: str = "") -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "name", name)

    def fits(self, vertex: Vertex) -> bool:
        """Whether the vertex is of the kind asked for."""
        if self.kind is None:
            return True
        if not isinstance(vertex, InnerVertex):
            return False
        kinds = self.kind if isinstance(self.kind, tuple) else (self.kind,)
        return any(_is(vertex, kind) for kind in kinds)


ANY = Pattern()
"""Any value."""


def chain(*kinds: Kind | tuple[Kind, ...], names: tuple[str, ...] = ()) -> Pattern:
    """Return the pattern of vertices each of which reads the one before, first to last."""
    if not kinds:
        raise GraphError("A chain consists of at least one kind.")
    labels = names or tuple(f"{number}" for number in range(len(kinds)))
    pattern = Pattern(kinds[0], name=labels[0])
    for kind, label in zip(kinds[1:], labels[1:], strict=True):
        pattern = Pattern(kind, pattern, name=label)
    return pattern


def _is(vertex: InnerVertex, kind: Kind) -> bool:
    if isinstance(kind, str):
        return vertex.operation == kind
    if isinstance(kind, type):
        return isinstance(vertex.module, kind)
    return bool(kind(vertex))


@dataclass(frozen=True)
class Match:
    """A place that a pattern fits.

    Attributes:
        graph: The graph, at any depth, in which it is.
        path: Path of that graph in the one searched, with a dot behind; "" for itself.
        root: The last vertex of the match: the others lead to it.
        vertices: All its vertices, in the order of computation.
        named: The vertices by the names in the pattern, values read included.
    """

    graph: DagModule
    path: str
    root: InnerVertex
    vertices: tuple[InnerVertex, ...]
    named: dict[str, Vertex] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.named[name]

    @property
    def inputs(self) -> tuple[Vertex, ...]:
        """The values that the match reads from outside, each once."""
        found: dict[str, Vertex] = {}
        for vertex in self.vertices:
            for source in vertex.predecessors:
                if not any(source is member for member in self.vertices):
                    found.setdefault(source.name, source)
        return tuple(found.values())


def find(graph: DagModule, pattern: Pattern, closed: bool = True) -> list[Match]:
    """Return all places that a pattern fits, also in nested graphs; no vertex belongs to two of them.

    A match lies within one graph: ``graph.flatten()`` first to find what crosses the borders of blocks.

    Args:
        graph: Is only read.
        pattern: What to look for.
        closed: Only where nothing outside reads a vertex of the match other than the last.
    """
    found: list[Match] = []
    for path, level in _levels(graph):
        used: set[str] = set()
        for vertex in level.inner_vertices:
            match = _match_at(level, path, vertex, pattern)
            if match is None or any(member.name in used for member in match.vertices):
                continue
            if closed and not _is_closed(match):
                continue
            used |= {member.name for member in match.vertices}
            found.append(match)
    return found


def _levels(graph: DagModule, path: str = "") -> Iterator[tuple[str, DagModule]]:
    yield path, graph
    seen: set[int] = set()
    for vertex in graph.inner_vertices:
        if isinstance(vertex.module, DagModule) and id(vertex.module) not in seen:
            seen.add(id(vertex.module))
            yield from _levels(vertex.module, f"{path}{vertex.name}.")


def _match_at(graph: DagModule, path: str, vertex: InnerVertex, pattern: Pattern) -> Match | None:
    bound: dict[int, tuple[Pattern, Vertex]] = {}
    if not _bind(pattern, vertex, bound):
        return None
    members = {entry.name for each, entry in bound.values() if each.kind is not None}
    vertices = tuple(member for member in graph.inner_vertices if member.name in members)
    named = {each.name: entry for each, entry in bound.values() if each.name}
    return Match(graph, path, vertex, vertices, named)


def _bind(pattern: Pattern, vertex: Vertex, bound: dict[int, tuple[Pattern, Vertex]]) -> bool:
    if pattern is not ANY and id(pattern) in bound:
        return bound[id(pattern)][1] is vertex
    if not pattern.fits(vertex):
        return False
    if pattern.kind is not None and any(entry is vertex for _, entry in bound.values()):
        return False
    before = dict(bound)
    if pattern is not ANY:
        bound[id(pattern)] = (pattern, vertex)
    if not pattern.inputs:
        return True
    assert isinstance(vertex, InnerVertex)
    for sources in _orders(vertex):
        trial = dict(bound)
        if len(sources) >= len(pattern.inputs) and all(
            _bind(each, source, trial) for each, source in zip(pattern.inputs, sources, strict=False)
        ):
            bound.update(trial)
            return True
    bound.clear()
    bound.update(before)
    return False


def _orders(vertex: InnerVertex) -> list[tuple[Vertex, ...]]:
    sources = vertex.predecessors
    if vertex.operation in _COMMUTATIVE and len(sources) == 2:
        return [sources, sources[::-1]]
    return [sources]


def _is_closed(match: Match) -> bool:
    inner = [vertex for vertex in match.vertices if vertex is not match.root]
    outputs = match.graph.output_vertices
    return all(
        all(any(reader is member for member in match.vertices) for reader in vertex.successors)
        and not any(output is vertex for output in outputs)
        for vertex in inner
    )


@dataclass(frozen=True)
class Rewriting:
    """What :func:`rewrite` did.

    Attributes:
        graph: The new graph; its tensors are those of the old one wherever nothing was rewritten.
        places: Paths of the vertices that were replaced.
        difference: Largest difference of the outputs, relative to the largest output; None if not compared.
    """

    graph: DagModule
    places: tuple[str, ...]
    difference: float | None


def rewrite(
    graph: DagModule,
    pattern: Pattern,
    replacement: Callable[[Match], nn.Module | Vertex | None],
    require: Callable[[Match], bool] = lambda match: True,
    tolerance: float | None = None,
    *,
    inputs: tuple[Any, ...] = (),
) -> Rewriting:
    """Return a graph with every match replaced; the one given stays as it is.

    Args:
        graph: What to rewrite, at all depths.
        pattern: What to look for, as in :func:`find`.
        replacement: Makes of a match the module to put in its place, which is called with
            :attr:`Match.inputs`; or the vertex to read instead; or None to leave this place alone.
        require: What must hold of a match besides (the condition before).
        tolerance: How far outputs may move, relative to the largest (the condition after); 0 for not a
            bit, None for rewritings that are meant to change what the graph computes.
        inputs: What to compare on; by default random numbers in the captured shapes.

    Raises:
        VerificationError: The outputs move further than allowed.
    """
    rewritten = share_graph(graph)
    places: list[str] = []
    for match in find(rewritten, pattern):
        made = replacement(match) if require(match) else None
        if made is not None:
            _replace(match, made)
            places.append(match.path + match.root.name)
    if tolerance is None or not places:
        return Rewriting(rewritten, tuple(places), None)
    difference = largest_difference(graph, rewritten, inputs)
    if not difference <= tolerance:
        raise VerificationError(
            f"Rewriting {graph.title} at {', '.join(places)} moves its outputs by {difference:.3g} of "
            f"the largest, where {tolerance:g} is allowed."
        )
    return Rewriting(rewritten, tuple(places), difference)


def _replace(match: Match, made: nn.Module | Vertex) -> None:
    graph, root = match.graph, match.root
    if isinstance(made, Vertex):
        new = made
    else:
        new = graph.add_call(graph.free_name(root.name), made, match.inputs, before=root)
    name = root.name
    graph.replace_uses(root, new)
    for vertex in reversed(match.vertices):
        if vertex is not new:
            graph.remove_vertex(vertex)
    if new is not made:
        graph.rename(new, name)


def largest_difference(first: DagModule, second: DagModule, inputs: tuple[Any, ...] = ()) -> float:
    """Return how far the outputs of two graphs differ, relative to the largest, in evaluation mode."""
    given = inputs or random_inputs(first)
    results = []
    for graph in (first, second):
        with preserved(graph), in_other_mode(graph, False), same_conditions():
            copies = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, given)
            results.append([leaf for leaf in leaves(graph(*copies)) if isinstance(leaf, Tensor)])
    if len(results[0]) != len(results[1]):
        return float("inf")
    worst = 0.0
    for one, other in zip(*results, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if one.numel():
            scale = float(one.abs().max()) or 1.0
            worst = max(worst, float((one - other).abs().max()) / scale)
    return worst


def random_inputs(graph: DagModule) -> tuple[Any, ...]:
    """Return random inputs of the captured shapes: normal numbers, and zeros for integers."""
    device = next((parameter.device for parameter in nn.Module.parameters(graph)), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)

    def fill(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype).to(device)
        return leaf

    return tuple(map_leaves(fill, value) for value in graph.example_inputs(str(device)))
