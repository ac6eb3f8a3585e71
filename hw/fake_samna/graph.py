"""Nodes, buffers and filter graphs: how events leave and reach a board."""

import weakref
from collections.abc import Callable
from typing import Any

from .strict import Namespace, exactly, integer, text

__all__ = ["SinkNode", "SourceNode", "graph_namespace"]


class SourceNode:
    """Sends events of a board to whoever listens; nobody's events are kept."""

    def __init__(self, pump: Callable[[], None]) -> None:
        self._pump = pump
        self._listeners: list[weakref.ref] = []

    def _listen(self, listener: Any) -> None:
        self._listeners.append(weakref.ref(listener))

    def _send(self, events: list[Any]) -> None:
        for reference in self._listeners:
            listener = reference()
            if listener is not None:
                listener._receive(events)


class SinkNode:
    """Takes events for a board."""

    def __init__(self, accept: Callable[[list[Any]], None]) -> None:
        self._accept = accept


class _Buffer:
    """Events that arrived since it was made or cleared."""

    def __init__(self) -> None:
        self._events: list[Any] = []
        self._pumps: list[Callable[[], None]] = []

    def _receive(self, events: list[Any]) -> None:
        self._events += events

    def _connect(self, source: SourceNode) -> None:
        source._listen(self)
        self._pumps.append(source._pump)

    def _pumped(self) -> list[Any]:
        for pump in self._pumps:
            pump()
        return self._events

    def get_events(self) -> list[Any]:
        """Return and forget all events."""
        found, self._events = self._pumped(), []
        return list(found)

    def get_events_blocking(self, timeout: Any = 0) -> list[Any]:
        """Return and forget all events; no event ever comes later, so nothing is waited for."""
        integer(0, 2**31)("timeout", timeout)
        return self.get_events()

    def get_n_events(self, n: Any, timeout: Any = 0) -> list[Any]:
        """Return and forget the first ``n`` events, or fewer after the timeout in milliseconds."""
        count = integer(0, 2**31)("n", n)
        integer(0, 2**31)("timeout", timeout)
        found = self._pumped()
        self._events = found[count:]
        return found[:count]

    def clear_events(self) -> None:
        """Forget all events."""
        self._pumped()
        self._events = []


class JitSink(_Buffer):
    """A buffer at the end of a filter graph."""


FILTERS = ("Mc3632OutputEventTypeFilter", "XyloAudio3OutputEventTypeFilter", "XyloImuOutputEventTypeFilter")
"""Event filters that are documented for Xylo boards."""


class _Filter:
    """Lets events of one type through."""

    def __init__(self, name: str) -> None:
        if name not in FILTERS:
            raise RuntimeError(f"there is no filter {name!r}")
        self._type = ""

    def set_desired_type(self, name: Any) -> None:
        """Name the type as ``module::event::Name``."""
        self._type = text("set_desired_type", name)

    def _lets_through(self, event: Any) -> bool:
        kind = type(event)
        parts = kind.__module__.split(".")[1:]
        return "::".join([*parts, kind.__name__]) == self._type


class EventFilterGraph:
    """A chain of nodes that works between start and stop, and no longer than it is kept."""

    def __init__(self) -> None:
        self._running = False
        self._chains: list[list[Any]] = []

    def sequential(self, nodes: Any) -> list[Any]:
        """Connect nodes; strings name filters. Returns the nodes."""
        made: list[Any] = [_Filter(node) if isinstance(node, str) else node for node in nodes]
        exactly(SourceNode)("first node", made[0])
        if len(made) < 2 or not hasattr(made[-1], "_receive"):
            raise TypeError("a graph ends in a sink")
        made[0]._listen(self)
        self._chains.append(made)
        if isinstance(made[-1], _Buffer):
            made[-1]._pumps.append(made[0]._pump)
        return made

    def start(self) -> None:
        """Let events through."""
        self._running = True

    def stop(self) -> None:
        """Let no more events through."""
        self._running = False

    def _receive(self, events: list[Any]) -> None:
        if not self._running:
            return
        for _, *filters, sink in self._chains:
            sink._receive([e for e in events if all(f._lets_through(e) for f in filters)])


class _Writer:
    """Writes lists of events to a board."""

    def __init__(self, sink: SinkNode) -> None:
        self._sink = sink

    def write(self, events: Any) -> None:
        """Send a list of events."""
        if not isinstance(events, list):
            raise TypeError(f"write(): incompatible argument {type(events).__name__}, a list is needed")
        self._sink._accept(events)


def _sink_from(source: Any) -> _Buffer:
    buffer = _Buffer()
    buffer._connect(exactly(SourceNode)("sink_from()", source))
    return buffer


def _source_to(sink: Any) -> _Writer:
    return _Writer(exactly(SinkNode)("source_to()", sink))


def graph_namespace() -> Namespace:
    """Return ``samna.graph``."""
    members = {
        "EventFilterGraph": EventFilterGraph,
        "JitSink": JitSink,
        "sink_from": _sink_from,
        "source_to": _source_to,
    }
    return Namespace("samna.graph", members)
