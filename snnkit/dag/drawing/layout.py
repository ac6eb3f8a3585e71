"""Where the boxes of a graph go: in layers from top to bottom, in an order with few crossings."""

from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Layout", "Place", "lay_out"]

_GAP_X, _GAP_Y = 18.0, 30.0
_LANE = 10.0
_SWEEPS, _PULLS = 8, 12


@dataclass
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


def lay_out(sizes: dict[str, tuple[float, float]], edges: list[tuple[str, str]]) -> Layout:
    """Arrange boxes so that each stands below those it reads.

    The method of Sugiyama, Tagawa and Toda 1981: layers by the longest path, lines that pass a layer get a
    lane of their own in it, the order in a layer follows the mean position of the neighbours, and positions
    are pulled towards those of the neighbours.

    Args:
        sizes: Width and height of each box, in the order of computation.
        edges: Pairs (read, reader), in any order.
    """
    edges = list(dict.fromkeys(edges))
    ranks = _ranks(list(sizes), edges)
    places = {name: Place(width, height) for name, (width, height) in sizes.items()}
    routes: dict[tuple[str, str], list[str]] = {}
    links: list[tuple[str, str]] = []
    for source, target in edges:
        route = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            lane = f"\0{source}\0{target}\0{rank}"
            places[lane], ranks[lane] = Place(_LANE, 0.0), rank
            route.append(lane)
        route.append(target)
        routes[source, target] = route
        links += pairwise(route)
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in places:
        layers[ranks[name]].append(name)
    above, below = _neighbours(places, links)
    _order(layers, above, below)
    _position(layers, places, above, below)
    return _finished(sizes, places, layers, routes)


def _ranks(names: list[str], edges: list[tuple[str, str]]) -> dict[str, int]:
    sources: dict[str, list[str]] = {name: [] for name in names}
    targets: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        sources[target].append(source)
        targets[source].append(target)
    ranks: dict[str, int] = {}
    for name in names:
        ranks[name] = max((ranks[source] + 1 for source in sources[name]), default=0)
    for name in reversed(names):
        # A parameter stands directly above its first reader, not at the top of the page.
        if not sources[name] and targets[name]:
            ranks[name] = min(ranks[target] for target in targets[name]) - 1
    lowest = min(ranks.values(), default=0)
    return {name: rank - lowest for name, rank in ranks.items()}


def _neighbours(
    places: dict[str, Place], links: list[tuple[str, str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {name: [] for name in places}
    below: dict[str, list[str]] = {name: [] for name in places}
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    return above, below


def _order(layers: list[list[str]], above: dict[str, list[str]], below: dict[str, list[str]]) -> None:
    """Sort each layer by the mean position of what it is connected to, downwards and upwards in turn."""
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for layer in layers if down else reversed(layers):
            position = {name: i for each in layers for i, name in enumerate(each)}
            fallback = {name: i for i, name in enumerate(layer)}
            layer.sort(key=lambda name, p=position, n=neighbours, f=fallback: _mean(  # type: ignore[misc]
                [p[other] for other in n[name]], f[name]))  # fmt: skip


def _mean(values: list[float] | list[int], default: float) -> float:
    return sum(values) / len(values) if values else default


def _position(
    layers: list[list[str]],
    places: dict[str, Place],
    above: dict[str, list[str]],
    below: dict[str, list[str]],
) -> None:
    for layer in layers:
        x = 0.0
        for name in layer:
            places[name].x = x + places[name].width / 2
            x += places[name].width + _GAP_X
        for name in layer:
            places[name].x -= (x - _GAP_X) / 2
    for pull in range(_PULLS):
        down = pull % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = []
            for name in layer:
                near = above[name] if down else below[name]
                near = near or [*above[name], *below[name]]
                wanted.append(_mean([places[other].x for other in near], places[name].x))
            _settle([places[name] for name in layer], wanted)
    y = 0.0
    for layer in layers:
        height = max((places[name].height for name in layer), default=0.0)
        for name in layer:
            places[name].y = y + height / 2
        y += height + _GAP_Y


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


def _finished(
    sizes: dict[str, tuple[float, float]],
    places: dict[str, Place],
    layers: list[list[str]],
    routes: dict[tuple[str, str], list[str]],
) -> Layout:
    left = min((place.x - place.width / 2 for place in places.values()), default=0.0)
    for place in places.values():
        place.x -= left
    bands = [_band([places[name] for name in layer]) for layer in layers]
    band_of = {name: bands[i] for i, layer in enumerate(layers) for name in layer}
    layout = Layout({name: places[name] for name in sizes})
    for (source, target), route in routes.items():
        first, last = places[source], places[target]
        points = [(first.x, first.y + first.height / 2)]
        for lane in route[1:-1]:
            # Straight through the layer, so that no line crosses a box.
            top, bottom = band_of[lane]
            points += [(places[lane].x, top), (places[lane].x, bottom)]
        layout.lines[source, target] = [*points, (last.x, last.y - last.height / 2)]
    layout.width = max((place.x + place.width / 2 for place in places.values()), default=0.0)
    layout.height = max((place.y + place.height / 2 for place in places.values()), default=0.0)
    return layout


def _band(row: list[Place]) -> tuple[float, float]:
    """Return top and bottom of a layer."""
    return min(p.y - p.height / 2 for p in row), max(p.y + p.height / 2 for p in row)
