"""A picture of a graph: boxes for vertices, frames for nested graphs, shapes and costs."""

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from snnkit.utilities.files import write_text

from ..cost import GraphCost, VertexCost, kind_of
from ..dag_module import DagModule
from ..functions import FreeTensor
from ..printing import call_text, shape_text
from ..shapes import layer_rule_of
from ..vertex import InnerVertex, Vertex
from .layout import Layout, Place, lay_out

__all__ = ["draw"]

_CHARACTER, _LINE, _PADDING, _TITLE = 6.1, 15.0, 8.0, 22.0
_LONGEST = 34
_COLOURS = {
    "input": ("#eef2f7", "#64748b"),
    "weights": ("#dbeafe", "#2563eb"),
    "norm": ("#ede9fe", "#7c3aed"),
    "activation": ("#dcfce7", "#16a34a"),
    "spiking": ("#fee2e2", "#dc2626"),
    "join": ("#ffedd5", "#ea580c"),
    "tensor": ("#fef9c3", "#ca8a04"),
    "graph": ("#f8fafc", "#94a3b8"),
    "other": ("#ffffff", "#475569"),
}
_WEIGHTS = ("Linear", "Conv", "LSTM", "GRU", "RNN", "Embedding", "Attention", "linear", "conv", "matmul",
            "einsum", "scaled_dot_product")  # fmt: skip
_JOINS = ("add", "cat", "mul", "sub", "stack", "maximum")


def draw(
    graph: DagModule,
    path: str | Path | None = None,
    depth: int | None = None,
    costs: bool = True,
    inputs: tuple[Any, ...] = (),
) -> str:
    """Return a picture of a graph as SVG text.

    Args:
        graph: What to draw.
        path: Where to write the picture as well; a folder that is not there is made.
        depth: How many levels of nested graphs to open; 0 for none, None for all.
        costs: Whether to show shapes, multiply-accumulates and parameters. It takes a run without numbers.
        inputs: What the shapes are those of; by default the captured ones, with a batch of one.

    Raises:
        MissingDependencyError: igraph is not installed.
    """
    shapes: dict[str, Any] = {}
    cost = None
    if costs and (inputs or graph.signature is not None):
        from ..cost import cost_of
        from ..shapes import value_shapes

        shapes, cost = value_shapes(graph, inputs), cost_of(graph, inputs)
    drawing = _Drawing(shapes, cost)
    frame = drawing.arranged(graph, "", depth)
    text = drawing.document(graph, frame)
    if path is not None:
        write_text(path, text)
    return text


@dataclass
class _Frame:
    """A graph whose boxes have their places, relative to its upper left corner."""

    graph: DagModule
    path: str
    layout: Layout
    nested: "dict[str, _Frame]"
    texts: dict[str, list[str]]


class _Drawing:
    def __init__(self, shapes: dict[str, Any], cost: GraphCost | None) -> None:
        self.shapes, self.cost = shapes, cost
        self.parts: list[str] = []

    def arranged(self, graph: DagModule, path: str, depth: int | None) -> _Frame:
        """Find a place for everything in a graph, from the inside out."""
        nested: dict[str, _Frame] = {}
        texts: dict[str, list[str]] = {}
        sizes: dict[str, tuple[float, float]] = {}
        for vertex in graph.vertices:
            inner = vertex.module if isinstance(vertex, InnerVertex) else None
            if isinstance(inner, DagModule) and depth != 0:
                frame = self.arranged(inner, f"{path}{vertex.name}.", None if depth is None else depth - 1)
                nested[vertex.name] = frame
                title = _text_width(self._title(vertex, path))
                sizes[vertex.name] = (
                    max(frame.layout.width, title) + 2 * _PADDING,
                    frame.layout.height + _TITLE + 2 * _PADDING,
                )
            else:
                texts[vertex.name] = self._lines(vertex, path)
                widest = max(map(_text_width, texts[vertex.name]))
                sizes[vertex.name] = (widest + 2 * _PADDING, _LINE * len(texts[vertex.name]) + _PADDING)
        edges = [
            (source.name, vertex.name) for vertex in graph.inner_vertices for source in vertex.predecessors
        ]
        return _Frame(graph, path, lay_out(sizes, edges), nested, texts)

    def _title(self, vertex: Vertex, path: str) -> str:
        assert isinstance(vertex, InnerVertex)
        cost = self._cost_text(path + vertex.name)
        title = f"{vertex.name}: {vertex.module.name}"
        return f"{title}  ({cost})" if cost else title

    def _lines(self, vertex: Vertex, path: str) -> list[str]:
        lines = [vertex.name]
        if isinstance(vertex, InnerVertex):
            what = _what(vertex)
            if what != vertex.name:
                lines.append(what)
        shape = shape_text(self.shapes.get(path + vertex.name))
        cost = self._cost_text(path + vertex.name) if isinstance(vertex, InnerVertex) else ""
        lines += [text for text in (shape, cost) if text]
        return [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in lines]

    def _cost_text(self, path: str) -> str:
        if self.cost is None:
            return ""
        entries = [e for key, e in self.cost.vertices.items() if key == path or key.startswith(f"{path}.")]
        return _cost_line(entries)

    def document(self, graph: DagModule, frame: _Frame) -> str:
        """Return the whole picture."""
        width, height = frame.layout.width + 4 * _PADDING, frame.layout.height + 4 * _PADDING + _TITLE
        total = f": {self.cost}" if self.cost is not None else ""
        heading = f"{graph.title}{total}"
        width = max(width, _text_width(heading) + 4 * _PADDING)
        self._text((2 * _PADDING, 2 * _PADDING + 4), heading, "#0f172a", anchor="start", weight="bold")
        self._draw(frame, (width - frame.layout.width) / 2, 2 * _PADDING + _TITLE)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="11">'
        )
        arrow = (
            '<defs><marker id="arrow" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" '
            'orient="auto"><path d="M0 0L6 3L0 6z" fill="#64748b"/></marker></defs>'
        )
        background = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
        return "\n".join([head, arrow, background, *self.parts, "</svg>", ""])

    def _draw(self, frame: _Frame, left: float, top: float) -> None:
        layout = frame.layout
        for name, place in layout.places.items():
            vertex = frame.graph.get_vertex_by_name(name)
            if name in frame.nested:
                self._box(vertex, place, left, top, "graph")
                inner = frame.nested[name]
                x, y = left + place.x - place.width / 2, top + place.y - place.height / 2
                self._text(
                    (x + _PADDING, y + 15), self._title(vertex, frame.path), "#334155", "start", "bold"
                )
                offset = (place.width - inner.layout.width) / 2
                self._draw(inner, x + offset, y + _TITLE + _PADDING)
            else:
                self._box(vertex, place, left, top, _category(vertex))
                self._label(frame.texts[name], place, left, top)
        for points in layout.lines.values():
            self._line([(left + x, top + y) for x, y in points])

    def _box(self, vertex: Vertex, place: Place, left: float, top: float, category: str) -> None:
        fill, stroke = _COLOURS[category]
        is_output = vertex.dag_module is not None and vertex in vertex.dag_module.output_vertices
        rounding = 11 if category in ("input", "tensor") else 4
        x, y = left + place.x - place.width / 2, top + place.y - place.height / 2
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" '
            f'rx="{rounding}" fill="{fill}" stroke="{stroke}" stroke-width="{2 if is_output else 1}"/>'
        )

    def _label(self, lines: list[str], place: Place, left: float, top: float) -> None:
        y = top + place.y - place.height / 2 + _LINE
        for number, line in enumerate(lines):
            weight = "bold" if number == 0 else "normal"
            colour = "#0f172a" if number < 2 else "#475569"
            self._text((left + place.x, y - 1), line, colour, "middle", weight)
            y += _LINE

    def _text(
        self,
        place: tuple[float, float],
        text: str,
        colour: str,
        anchor: str = "middle",
        weight: str = "normal",
    ) -> None:
        x, y = place
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">'
            f"{escape(text)}</text>"
        )

    def _line(self, points: list[tuple[float, float]]) -> None:
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            if x0 == x1:
                path += f"L{x1:.1f} {y1:.1f}"
            else:
                bend = (y0 + y1) / 2
                path += f"C{x0:.1f} {bend:.1f} {x1:.1f} {bend:.1f} {x1:.1f} {y1:.1f}"
        self.parts.append(f'<path d="{path}" fill="none" stroke="#64748b" marker-end="url(#arrow)"/>')


def _cost_line(entries: list[VertexCost]) -> str:
    macs, parameters = sum(e.macs for e in entries), sum(e.parameters for e in entries)
    parts = [f"{_short(macs)} MACs"] if macs else []
    parts += [f"{_short(parameters)} par."] if parameters else []
    spikes = [entry.spikes for entry in entries if entry.spikes is not None]
    parts += [f"{_short(sum(spikes))} spikes"] if spikes else []
    return ", ".join(parts)


def _short(number: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:g}"


def _text_width(text: str) -> float:
    return _CHARACTER * len(text)


def _what(vertex: InnerVertex) -> str:
    module = vertex.module
    if isinstance(module, DagModule):
        return f"graph {module.name}"
    if type(module).__name__ == "Function":
        return call_text(vertex)
    return type(module).__name__


def _category(vertex: Vertex) -> str:
    if not isinstance(vertex, InnerVertex):
        return "input"
    kind, rule = kind_of(vertex), layer_rule_of(vertex.module)
    if isinstance(vertex.module, DagModule):
        return "graph"
    if isinstance(vertex.module, FreeTensor):
        return "tensor"
    if rule is not None and rule.is_spiking(vertex.module):
        return "spiking"
    return _category_of_kind(vertex, kind)


def _category_of_kind(vertex: InnerVertex, kind: str) -> str:
    from ..editing.passes import ACTIVATIONS

    if any(kind == one or (isinstance(one, type) and isinstance(vertex.module, one)) for one in ACTIVATIONS):
        return "activation"
    if any(part in kind for part in _WEIGHTS):
        return "weights"
    if "norm" in kind.lower():
        return "norm"
    return "join" if kind in _JOINS else "other"
