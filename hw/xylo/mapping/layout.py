"""Places the populations of a circuit on a chip's neurons."""

from dataclasses import dataclass

import numpy as np

from snnkit.utilities.chips import Chip

from ..specification.core import Population
from .allocation import Role, order_populations
from .mapped_network import MappedNetwork
from .skips import contents, delays, sources_of
from .values import INPUT, Circuit, Counts, Node, Projection

__all__ = ["Placement", "lay_out", "place_populations", "projection_sources"]

_OVERSIZE = 4
_UNUSED_DECAY = 0.5  # dash 1, for synapses that a neuron does not have


@dataclass(frozen=True, eq=False)
class Placement:
    """Populations in the order of their neurons, and the range of each within its layer."""

    hidden: list[Node]
    outputs: list[Node]
    ranges: dict[int, slice]

    @property
    def synapses(self) -> int:
        """Synaptic states of a hidden neuron."""
        return max((node.synapses for node in self.hidden), default=1)


def lay_out(circuit: Circuit, chip: Chip) -> MappedNetwork:
    """Place a circuit on the chip's neurons; what does not fit is placed all the same, for the checks."""
    sources = projection_sources(circuit)
    placement = place_populations(circuit, chip)
    hidden, outputs = placement.hidden, placement.outputs
    nodes = [*hidden, *outputs]
    delay, early = delays(circuit)
    return MappedNetwork(
        chip=chip,
        **_weights(circuit, sources, placement, chip),
        decay_mem=_joined(hidden, "decay_mem"),
        decay_syn=_joined_synapses(hidden, "decay_syn", placement.synapses, _UNUSED_DECAY),
        decay_mem_out=_joined(outputs, "decay_mem"),
        decay_syn_out=_joined_synapses(outputs, "decay_syn", 1, _UNUSED_DECAY)[:, 0],
        threshold=_joined(hidden, "threshold"),
        threshold_out=_joined(outputs, "threshold"),
        bias=_joined(hidden, "bias"),
        bias_out=_joined(outputs, "bias"),
        synaptic_bias=_joined_synapses(hidden, "synaptic_bias", placement.synapses, 0.0),
        synaptic_bias_out=_joined_synapses(outputs, "synaptic_bias", 1, 0.0)[:, 0],
        aliases=_aliases(circuit, placement),
        dt=nodes[0].dt if nodes else chip.default_dt,
        populations=tuple(_population(node, placement) for node in nodes),
        max_spikes=tuple(node.max_spikes for node in nodes),
        delay=max((delay[node.index] for node in outputs), default=0),
        delays=tuple(delay[node.index] for node in nodes),
        notes=(*circuit.notes, *early, *_cancelled(circuit, sources), *_unchecked(hidden, chip)),
    )


def projection_sources(circuit: Circuit) -> list[Counts]:
    """Return for each projection the pairs (population, factor) that its weights stand for on the chip."""
    carried = contents(circuit)
    return [sources_of(projection.counts, carried) for projection in circuit.projections]


def place_populations(circuit: Circuit, chip: Chip) -> Placement:
    """Order the populations as the chip needs them, and number their neurons."""
    sources = projection_sources(circuit)
    takes_input: set[int] = set()
    drives: set[int] = set()
    for projection, found in zip(circuit.projections, sources, strict=True):
        if any(population == INPUT for population, _ in found):
            takes_input.add(projection.target)
        if circuit.nodes[projection.target].is_output:
            drives.update(population for population, _ in found)
    nodes = circuit.hidden
    roles = [Role(node.size, node.index in takes_input, node.index in drives) for node in nodes]
    hidden = [nodes[place] for place in order_populations(roles, chip)]
    outputs = [circuit.nodes[index] for index in circuit.outputs]
    return Placement(hidden, outputs, _ranges(hidden) | _ranges(outputs))


def _ranges(nodes: list[Node]) -> dict[int, slice]:
    ranges, start = {}, 0
    for node in nodes:
        ranges[node.index] = slice(start, start + node.size)
        start += node.size
    return ranges


def is_oversized(n_hidden: int, chip: Chip) -> bool:
    """Tell whether a network is so large that its square matrix is not worth the memory."""
    return n_hidden > _OVERSIZE * chip.max_hidden


class _Matrices:
    """The three weight matrices over all hidden neurons, and how much of them is used."""

    def __init__(self, n_inputs: int, placement: Placement, chip: Chip) -> None:
        self.placement = placement
        n_hidden, n_out = (sum(n.size for n in nodes) for nodes in (placement.hidden, placement.outputs))
        self.n_hidden = n_hidden
        self.inputs = np.zeros((n_inputs, n_hidden, placement.synapses))
        self.oversized = is_oversized(n_hidden, chip)
        side = 0 if self.oversized else n_hidden
        self.recurrent = np.zeros((side, side, placement.synapses))
        self.outputs = np.zeros((n_hidden, n_out))
        self.receiving = 0
        self.driving = 0

    def add(self, weights: np.ndarray, source: Node | None, target: Node) -> None:
        """Add weights (sources, N, S) from a population, or from the network's input (None).

        Places that no chip has (from outputs, from the input to outputs) are violations already.
        """
        columns = self.placement.ranges[target.index]
        if source is None and not target.is_output:
            self.inputs[:, columns, : target.synapses] += weights
            self.receiving = max(self.receiving, columns.stop)
        elif source is not None and not source.is_output:
            rows = self.placement.ranges[source.index]
            if target.is_output:
                self.outputs[rows, columns] += weights[:, :, 0]
                self.driving = max(self.driving, self.n_hidden - rows.start)
            elif not self.oversized:
                self.recurrent[rows, columns, : target.synapses] += weights


def _weights(
    circuit: Circuit, sources: list[Counts], placement: Placement, chip: Chip
) -> dict[str, np.ndarray]:
    """Add every projection to the matrix that it belongs to; cut input and output weights to size."""
    matrices = _Matrices(circuit.n_inputs, placement, chip)
    for projection, found in zip(circuit.projections, sources, strict=True):
        _add_projection(matrices, circuit, projection, found)
    receiving = _within(chip.max_input_expansion, matrices.receiving, matrices.inputs)
    from_the_end = matrices.outputs.T[:, ::-1, None]
    driving = _within(chip.max_output_expansion, matrices.driving, from_the_end)
    return {
        "weights_in": matrices.inputs[:, :receiving],
        "weights_rec": matrices.recurrent,
        "weights_out": matrices.outputs[matrices.n_hidden - driving :],
    }


def _add_projection(matrices: _Matrices, circuit: Circuit, projection: Projection, found: Counts) -> None:
    target = circuit.nodes[projection.target]
    for population, factor in found:
        weights = projection.weights if factor == 1 else factor * projection.weights
        matrices.add(weights, None if population == INPUT else circuit.nodes[population], target)


def _within(window: int, neurons: int, weights: np.ndarray) -> int:
    """Return how many neurons a matrix (x, neurons, S) has to cover.

    Pruned neurons at the far end are left out if there is no room for them.
    """
    if neurons <= window:
        return neurons
    used = np.flatnonzero(weights.any(axis=(0, 2)))
    return max(window, int(used[-1]) + 1) if used.size else window


def _joined(nodes: list[Node], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(getattr(node, name) for node in nodes)])


def _joined_synapses(nodes: list[Node], name: str, synapses: int, unused: float) -> np.ndarray:
    columns = [np.zeros((0, synapses))]
    for node in nodes:
        values = getattr(node, name)[:, :synapses]
        missing = ((0, 0), (0, synapses - values.shape[1]))
        columns.append(np.pad(values, missing, constant_values=unused))
    return np.concatenate(columns)


def _aliases(circuit: Circuit, placement: Placement) -> tuple[tuple[int, ...], ...]:
    targets: list[list[int]] = [[] for node in placement.hidden for _ in range(node.size)]
    for skip in circuit.skips:
        if circuit.nodes[skip.source].is_output or circuit.nodes[skip.target].is_output:
            continue
        source, target = placement.ranges[skip.source], placement.ranges[skip.target]
        for one, other in zip(
            range(source.start, source.stop), range(target.start, target.stop), strict=True
        ):
            targets[one].append(other)
    return tuple(tuple(found) for found in targets)


def _population(node: Node, placement: Placement) -> Population:
    place = placement.ranges[node.index]
    return Population(node.path, "output" if node.is_output else "hidden", place.start, place.stop)


def _unchecked(hidden: list[Node], chip: Chip) -> list[str]:
    if not is_oversized(sum(node.size for node in hidden), chip):
        return []
    return ["Fan-out and recurrent memory were not counted: the network has far too many neurons."]


def _cancelled(circuit: Circuit, sources: list[Counts]) -> list[str]:
    """Say where weights were added so that copied events do not count."""
    notes = []
    for projection, found in zip(circuit.projections, sources, strict=True):
        names = [circuit.nodes[population].path for population, factor in found if factor < 0]
        if names:
            notes.append(
                f"{projection.path}: weights from {', '.join(names)} cancel the events that the residual "
                "path copies onto these weights' source."
            )
    return notes
