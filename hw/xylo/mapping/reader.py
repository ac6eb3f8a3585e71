"""Walks a graph with abstract values and writes down the circuit, with every violation on the way."""

from collections.abc import Sequence

import numpy as np

from snnkit.dag import DagModule, InnerVertex, Select
from snnkit.nn.graph_of import inner_graph
from snnkit.transforms.patching import bare_path
from snnkit.utilities.chips import Chip

from ..violation import Violation
from .values import (
    INPUT,
    Circuit,
    Current,
    Events,
    Node,
    Projection,
    Segment,
    Skip,
    Term,
    Unknown,
    Value,
    add_counts,
)

__all__ = ["Reader"]

Values = tuple[Value, ...]


class Reader:
    """Collects the circuit and the violations of one graph; the graph itself is only read."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.circuit = Circuit()
        self.violations: list[Violation] = []

    def refuse(self, rule: str, where: str, value: str | float, limit: str | float, fix: str) -> Unknown:
        """Note a violation; the value that would have been computed is unknown."""
        self.violations.append(Violation(rule, where, value, limit, fix))
        return Unknown()

    def read(self, graph: DagModule) -> None:
        """Read a whole network; its outputs become the circuit's."""
        from .outputs import close_outputs

        inputs = graph.input_vertices
        if len(inputs) != 1:
            found = ", ".join(vertex.name for vertex in inputs) or "none"
            fix = "Concatenate the channels before the network, so that it has one input."
            self.refuse("network inputs", graph.title, found, 1, fix)
        first = Events((Segment(((INPUT, 1),), None),))
        values = self.read_graph(graph, tuple(first for _ in inputs), prefix="")
        names = tuple(vertex.name for vertex in graph.output_vertices)
        close_outputs(self, values, names)

    def read_graph(self, graph: DagModule, inputs: Values, prefix: str) -> Values:
        """Return the values of the graph's outputs, given those of its inputs."""
        known: dict[str, Values] = {
            vertex.name: (value,) for vertex, value in zip(graph.input_vertices, inputs, strict=False)
        }
        for vertex in graph.inner_vertices:
            sources = [known.get(source.name, (Unknown(),)) for source in vertex.predecessors]
            known[vertex.name] = self._read_vertex(vertex, sources, prefix)
        return tuple(value for vertex in graph.output_vertices for value in known[vertex.name])

    def _read_vertex(self, vertex: InnerVertex, sources: Sequence[Values], prefix: str) -> Values:
        module, path = vertex.module, bare_path(prefix + vertex.name)
        if isinstance(module, Select) and len(sources) == 1 and len(sources[0]) > 1:
            return (sources[0][module.index],)
        values = tuple(value for source in sources for value in source)
        nested = inner_graph(module)
        if nested is not None:
            return self.read_graph(nested, values, prefix=f"{path}." if path else "")
        from .module_rules import read_module

        return (read_module(module, self, path, values),)

    def add_node(self, node: Node) -> Events:
        """Take in a population; return its events."""
        self.circuit.nodes.append(node)
        return Events((Segment(((node.index, 1),), node.size),))

    def project(self, current: Current, node: Node) -> None:
        """Send a current to the first synapses of a population and keep its constant part."""
        synapses = current.width // node.size
        for term in current.terms:
            weights = np.zeros((term.weights.shape[0], node.size, node.synapses))
            weights[:, :, :synapses] = term.weights.reshape(-1, node.size, synapses)
            self.circuit.projections.append(Projection(term.counts, node.index, weights, term.path))
        node.synaptic_bias[:, :synapses] += current.bias.reshape(node.size, synapses)

    def weigh(self, events: Events, weights: np.ndarray, bias: np.ndarray, path: str) -> Value:
        """Return the current that ``events @ weights + bias`` is; one term for each segment."""
        known = [segment.width for segment in events.segments if segment.width is not None]
        rest = weights.shape[0] - sum(known)
        widths = [rest if segment.width is None else segment.width for segment in events.segments]
        if sum(widths) != weights.shape[0] or min(widths) < 0:
            fix = "Give the layer as many input channels as the value that it reads."
            return self.refuse("layer sizes", path, weights.shape[0], sum(widths), fix)
        terms, start = [], 0
        for segment, width in zip(events.segments, widths, strict=True):
            if segment.carrier == INPUT and not self._fits_input(width, path):
                return Unknown()
            terms.append(Term(segment.counts, weights[start : start + width], path))
            start += width
        return Current(tuple(terms), bias)

    def merge_events(self, values: Sequence[Events], path: str) -> Value:
        """Return the sum of events: the earlier populations are copied onto the latest one."""
        if any(value.from_input for value in values):
            fix = "Put a LinearTorch and a LIFTorch between the network's input and the residual block."
            return self.refuse("alias source", path, "the network's input", "hidden neurons", fix)
        widths = [tuple(segment.width for segment in value.segments) for value in values]
        if any(other != widths[0] for other in widths):
            sizes = " and ".join(str(sum(w or 0 for w in width)) for width in widths)
            fix = "Only populations of equal size can be added, neuron by neuron."
            return self.refuse("layer sizes", path, sizes, "equal sizes", fix)
        columns = zip(*(value.segments for value in values), strict=True)
        return Events(tuple(self._merge_segments(segments, path) for segments in columns))

    def _merge_segments(self, segments: Sequence[Segment], path: str) -> Segment:
        carrier = max(segment.carrier for segment in segments)
        for segment in segments:
            if segment.carrier != carrier:
                self.circuit.skips.append(Skip(segment.carrier, carrier, path))
        return Segment(add_counts(segment.counts for segment in segments), segments[0].width)

    def _fits_input(self, width: int, path: str) -> bool:
        known = self.circuit.n_inputs
        if known and known != width:
            fix = "All layers that read the network's input must have the same number of input channels."
            self.refuse("layer sizes", path, width, known, fix)
            return False
        self.circuit.n_inputs = width
        return True
