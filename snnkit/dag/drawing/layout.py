"""Where the boxes of a graph go: layers and their order by igraph, room for the boxes' widths by us."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from snnkit.utilities.backends import require

if TYPE_CHECKING:
    import igraph

__all__ = ["Layout", "Place", "lay_out"]

_GAP_X, _GAP_Y = 18.0, 30.0
_LANE = 10.0
_PULLS = 12


@dataclass(eq=False)
class Place:
    """A box: its centre and size in pixels."""

    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


@dataclass
class Layout:
    """Boxes by name, lines by (source, target) through points, and the size of all."""

    places: dict[str, Place]
    lines: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0


@dataclass
class _Layers:
    """Boxes, and lanes for the lines that pass a layer, from top to bottom and from left to right."""

    rows: list[list[Place]]
    routes: dict[tuple[str, str], list[Place]]


def lay_out(sizes: dict[str, tuple[float, float]], edges: list[tuple[str, str]]) -> Layout:
    """Arrange boxes so that each stands below those it reads.

    igraph's layout of Sugiyama, Tagawa and Toda 1981 gives the layer of each box and its place in the layer,
    with a lane in every layer that a line passes. It knows no sizes: positions follow from them here, pulled
    towards those of the neighbours.

    Args:
        sizes: Width and height of each box, in the order of computation.
        edges: Pairs (read, reader), in any order.

    Raises:
        MissingDependencyError: igraph is not installed.
    """
    edges = list(dict.fromkeys(edges))
    places = {name: Place(width, height) for name, (width, height) in sizes.items()}
    layers = _layered(places, edges)
    _position(layers)
    return _finished(places, layers)


def _layered(places: dict[str, Place], edges: list[tuple[str, str]]) -> _Layers:
    require("igraph", "drawing", "A picture of a graph")
    import igraph

    number = {name: i for i, name in enumerate(places)}
    graph = igraph.Graph(
        len(places), [(number[source], number[target]) for source, target in edges], directed=True
    )
    found = graph.layout_sugiyama(layers=_layer_numbers(graph))
    cells: dict[int, list[tuple[float, Place]]] = defaultdict(list)
    for place, (x, y) in zip(places.values(), found, strict=True):
        cells[round(y)].append((x, place))
    routes = {}
    for (source, target), bends in zip(edges, found.edge_routing, strict=True):
        lanes = []
        for x, y in bends:
            lanes.append(Place(_LANE, 0.0))
            cells[round(y)].append((x, lanes[-1]))
        routes[source, target] = [places[source], *lanes, places[target]]
    rows = [[place for _, place in sorted(cells[y], key=lambda cell: cell[0])] for y in sorted(cells)]
    return _Layers(rows, routes)


def _layer_numbers(graph: "igraph.Graph") -> list[int]:
    """Return igraph's layers, but those that read nothing (parameters) directly above their first reader."""
    layers = [round(y) for _, y in graph.layout_sugiyama(maxiter=1)]
    for vertex in range(graph.vcount()):
        if graph.degree(vertex, mode="in") == 0 and graph.degree(vertex, mode="out") > 0:
            layers[vertex] = min(layers[reader] for reader in graph.successors(vertex)) - 1
    return layers


def _position(layers: _Layers) -> None:
    above: dict[Place, list[Place]] = defaultdict(list)
    below: dict[Place, list[Place]] = defaultdict(list)
    for route in layers.routes.values():
        for source, target in pairwise(route):
            above[target].append(source)
            below[source].append(target)
    for row in layers.rows:
        x = 0.0
        for place in row:
            place.x = x + place.width / 2
            x += place.width + _GAP_X
        for place in row:
            place.x -= (x - _GAP_X) / 2
    for pull in range(_PULLS):
        down = pull % 2 == 0
        for row in layers.rows if down else reversed(layers.rows):
            near = [(above[place] if down else below[place]) or above[place] + below[place] for place in row]
            _settle(row, [_mean([other.x for other in others], place.x)
                          for place, others in zip(row, near, strict=True)])  # fmt: skip
    y = 0.0
    for row in layers.rows:
        height = max(place.height for place in row)
        for place in row:
            place.y = y + height / 2
        y += height + _GAP_Y


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _settle(row: list[Place], wanted: list[float]) -> None:
    """Move boxes as near to the wanted places as their widths allow, in their order (least squares)."""
    blocks: list[tuple[float, int, list[float]]] = []
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + _GAP_X)
    for target, offset in zip(wanted, offsets, strict=True):
        blocks.append((target - offset, 1, [offset]))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, count, members = blocks.pop()
            before, others, earlier = blocks.pop()
            mean = (before * others + value * count) / (others + count)
            blocks.append((mean, others + count, earlier + members))
    places = iter(row)
    for value, _, members in blocks:
        for offset in members:
            next(places).x = value + offset


def _finished(places: dict[str, Place], layers: _Layers) -> Layout:
    every = [place for row in layers.rows for place in row]
    left = min((place.x - place.width / 2 for place in every), default=0.0)
    for place in every:
        place.x -= left
    layout = Layout(places)
    bands = {place: band for row in layers.rows for band in [_band(row)] for place in row}
    for ends, (first, *lanes, last) in layers.routes.items():
        # Straight through each layer, so that no line crosses a box.
        points = [(first.x, first.y + first.height / 2), (first.x, bands[first][1])]
        for lane in lanes:
            top, bottom = bands[lane]
            points += [(lane.x, top), (lane.x, bottom)]
        points += [(last.x, bands[last][0]), (last.x, last.y - last.height / 2)]
        layout.lines[ends] = list(dict.fromkeys(points))
    layout.width = max((place.x + place.width / 2 for place in every), default=0.0)
    layout.height = max((place.y + place.height / 2 for place in every), default=0.0)
    return layout


def _band(row: list[Place]) -> tuple[float, float]:
    """Return top and bottom of a layer."""
    return min(p.y - p.height / 2 for p in row), max(p.y + p.height / 2 for p in row)
