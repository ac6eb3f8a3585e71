"""Running a graph: its vertices one after the other, each value dropped after its last reader."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .arguments import in_mode, map_leaves
from .registry import call_of
from .vertex import InnerVertex, Vertex

if TYPE_CHECKING:
    from .dag_module import DagModule

__all__ = ["make_plan", "run_plan", "watching"]

Watcher = Callable[[str, InnerVertex, tuple[Any, ...], dict[str, Any], Callable[[], Any]], Any]

_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("watchers", default=())
_prefix: ContextVar[str] = ContextVar("prefix", default="")


@dataclass(frozen=True)
class _Step:
    vertex: InnerVertex
    call: Callable[..., Any]
    args: Any
    kwargs: Any
    is_plain: bool
    """Whether the arguments are vertices and nothing else, the usual case, which needs no tree walk."""
    last_uses: tuple[str, ...]


Plan = tuple[_Step, ...]


def make_plan(graph: "DagModule", training: bool) -> Plan:
    """Return the steps that compute the outputs of ``graph`` in one of its modes."""
    last_reader: dict[str, InnerVertex] = {}
    for vertex in graph.inner_vertices:
        last_reader[vertex.name] = vertex
        for source in vertex.predecessors:
            last_reader[source.name] = vertex
    kept = {vertex.name for vertex in graph.output_vertices}
    freed: dict[str, list[str]] = {}
    for name, reader in last_reader.items():
        if name not in kept:
            freed.setdefault(reader.name, []).append(name)
    return tuple(
        _step(vertex, tuple(freed.get(vertex.name, ())), training) for vertex in graph.inner_vertices
    )


def _step(vertex: InnerVertex, last_uses: tuple[str, ...], training: bool) -> _Step:
    args, kwargs = in_mode(vertex.args, training), in_mode(vertex.kwargs, training)
    is_plain = not kwargs and all(isinstance(argument, Vertex) for argument in args)
    return _Step(vertex, call_of(vertex.module), args, kwargs, is_plain, last_uses)


def run_plan(plan: Plan, values: dict[str, Any]) -> None:
    """Compute the steps' values into ``values``, which holds those of the inputs."""

    def value_of(leaf: Any) -> Any:
        return values[leaf.name] if isinstance(leaf, Vertex) else leaf

    watchers = _watchers.get()
    for step in plan:
        if step.is_plain:
            args, kwargs = tuple(values[source.name] for source in step.args), {}
        else:
            args, kwargs = map_leaves(value_of, step.args), map_leaves(value_of, step.kwargs)
        if watchers:
            values[step.vertex.name] = _watched(watchers, step, args, kwargs)
        else:
            values[step.vertex.name] = step.call(*args, **kwargs)
        del args, kwargs
        for name in step.last_uses:
            values.pop(name, None)


def _watched(
    watchers: tuple[Watcher, ...], step: _Step, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    path = _prefix.get() + step.vertex.name

    def call() -> Any:
        token = _prefix.set(f"{path}.")
        try:
            return step.call(*args, **kwargs)
        finally:
            _prefix.reset(token)

    for watcher in watchers:
        call = partial(watcher, path, step.vertex, args, kwargs, call)
    return call()


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Call ``watcher(path, vertex, args, kwargs, call)`` around every vertex that graphs run inside.

    ``path`` is the vertex's name behind those of the graphs around it, joined by ``.``. The watcher
    returns the value of the vertex, as a rule ``call()``. Vertices of nested graphs are watched as well,
    inside the call of the vertex that holds their graph.
    """
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)
