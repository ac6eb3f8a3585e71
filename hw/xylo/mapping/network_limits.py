"""The chip's limits, checked on a network before it is quantised, with the modules they concern."""

from collections.abc import Iterator

import numpy as np

from snnkit.nn.modules.leak_modes import LEAK_MODES
from snnkit.utilities.chips import Chip

from ..specification.core import Population
from ..violation import Violation
from .mapped_network import MappedNetwork
from .values import Circuit, Node

__all__ = ["bank_use", "exact_dash", "fan_outs", "limit_violations", "tau_of_dash"]


def limit_violations(circuit: Circuit, mapped: MappedNetwork) -> tuple[Violation, ...]:
    """Return everything in a laid-out network that exceeds its chip, in a fixed order."""
    chip = mapped.chip
    return (
        *_sizes(mapped),
        *_synapses(circuit, chip),
        *_windows(mapped),
        *_fan_out(mapped),
        *(violation for node in circuit.nodes for violation in _leaks(node, chip)),
        *(violation for node in circuit.nodes for violation in _values(node, chip)),
        *_weight_values(circuit),
        *_alias_order(mapped),
    )


def exact_dash(decay: np.ndarray) -> np.ndarray:
    """Return ``-log2(1 - decay)``, not rounded; infinite for decays of 1 and more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log2(np.maximum(1.0 - decay, 0.0))


def tau_of_dash(dash: np.ndarray | float, dt: float) -> np.ndarray:
    """Return the time constant in seconds of a bit shift; 0 for dash 0."""
    with np.errstate(divide="ignore"):
        return -dt / np.log1p(-np.exp2(-np.asarray(dash, dtype=np.float64)))


def fan_outs(mapped: MappedNetwork) -> np.ndarray:
    """Return the number of recurrent weights that leave each hidden neuron, (Nhid,)."""
    return np.count_nonzero(mapped.weights_rec, axis=(1, 2))


def bank_use(mapped: MappedNetwork) -> list[int]:
    """Return the number of recurrent weights in each synapse bank."""
    return [int(count) for count in np.count_nonzero(mapped.weights_rec, axis=(0, 1))]


def _sizes(mapped: MappedNetwork) -> Iterator[Violation]:
    chip, (n_in, n_hidden, n_out) = mapped.chip, mapped.shape
    if n_in > chip.max_inputs:
        yield Violation(
            "input channels", "network input", n_in, chip.max_inputs, "Use fewer or coarser input channels."
        )
    layers = {
        "hidden": (n_hidden, chip.max_hidden, "Use smaller hidden layers, or prune neurons."),
        "output": (n_out, chip.max_outputs, "Use fewer output neurons."),
    }
    for layer, (used, limit, fix) in layers.items():
        if used > limit:
            sizes = [f"{p.path}: {p.stop - p.start}" for p in mapped.populations if p.layer == layer]
            yield Violation(f"{layer} neurons", ", ".join(sizes), used, limit, fix)


def _synapses(circuit: Circuit, chip: Chip) -> Iterator[Violation]:
    for node in circuit.hidden:
        if node.synapses > chip.hidden_synapses:
            fix = "Use one synapse for each neuron (and LIFTorch, not aLIFTorch)"
            fix += ", or a chip with two: a2, a3." if node.synapses == 2 else "."
            yield Violation("synapses per hidden neuron", node.path, node.synapses, chip.hidden_synapses, fix)


def _windows(mapped: MappedNetwork) -> Iterator[Violation]:
    chip, n_hidden = mapped.chip, mapped.shape[1]
    taking, driving = mapped.weights_in.shape[1], mapped.weights_out.shape[0]
    if taking > chip.max_input_expansion:
        yield Violation(
            "neurons that take input",
            _names(mapped, 0, taking),
            taking,
            chip.max_input_expansion,
            f"Only the first {chip.max_input_expansion} hidden neurons receive input: make the layers "
            "behind the input narrower, and put the other neurons behind them.",
        )
    if driving > chip.max_output_expansion:
        yield Violation(
            "neurons that drive outputs",
            _names(mapped, n_hidden - driving, n_hidden),
            driving,
            chip.max_output_expansion,
            f"Only the last {chip.max_output_expansion} hidden neurons reach outputs: make the layers "
            "before the outputs narrower, and put the other neurons before them.",
        )


def _fan_out(mapped: MappedNetwork) -> Iterator[Violation]:
    chip, counts = mapped.chip, fan_outs(mapped)
    for population in _hidden(mapped):
        widest = int(counts[population.start : population.stop].max(initial=0))
        if widest > chip.max_fanout:
            yield Violation(
                "recurrent fan-out",
                _wide_neurons(population, counts, chip.max_fanout),
                widest,
                chip.max_fanout,
                "Prune the weights that leave these neurons, or make the layers that they reach narrower.",
            )
    for synapse, used in enumerate(bank_use(mapped)):
        if used > chip.max_recurrent_weights:
            yield Violation(
                "recurrent weights in all",
                f"weights between hidden neurons, synapse {synapse + 1}",
                used,
                chip.max_recurrent_weights,
                f"The chip stores {chip.mean_fanout_per_synapse} for each of its {chip.max_hidden} neurons "
                "on average: prune weights or use smaller layers.",
            )


def _wide_neurons(population: Population, counts: np.ndarray, limit: int) -> str:
    wide = int((counts[population.start : population.stop] > limit).sum())
    neurons = "all" if wide == population.stop - population.start else str(wide)
    return f"{population.path} ({neurons} of {population.stop - population.start} neurons)"


def _leaks(node: Node, chip: Chip) -> Iterator[Violation]:
    names = LEAK_MODES[str(getattr(node.module, "leak_mode", "taus"))]
    for name, decays in zip(names, (node.decay_mem, node.decay_syn), strict=True):
        dash = exact_dash(decays)
        rounded = np.round(dash)
        low, high = tau_of_dash(chip.min_dash, node.dt), tau_of_dash(chip.max_dash, node.dt)
        limit = f"{float(low):.3g}..{float(high):.3g} s (dash {chip.min_dash}..{chip.max_dash})"
        for wrong, worst, fix in (
            (~(rounded >= chip.min_dash), np.min, "Use a longer time constant or a shorter dt."),
            (rounded > chip.max_dash, np.max, "Use a shorter time constant or a longer dt."),
        ):
            if wrong.any():
                extreme = float(worst(decays[wrong]))
                value = f"{_tau_text(extreme, node.dt)} in {int(wrong.sum())} of {wrong.size}"
                advice = "Train again: it has diverged." if np.isnan(extreme) else fix
                yield Violation("dash", f"{node.path}.{name}", value, limit, advice)


def _tau_text(decay: float, dt: float) -> str:
    if not 0.0 < decay < 1.0:
        return f"decay {decay:g}"
    return f"{-dt / np.log(decay):.3g} s"


def _values(node: Node, chip: Chip) -> Iterator[Violation]:
    wrong = ~(np.isfinite(node.threshold) & (node.threshold > 0))
    if wrong.any():
        value = f"{float(node.threshold[wrong][0]):g} in {int(wrong.sum())} of {wrong.size}"
        yield Violation("threshold", node.path, value, "above 0", "Keep thresholds positive in training.")
    constant = np.concatenate([node.bias, node.synaptic_bias.ravel()])
    if not np.isfinite(constant).all():
        yield Violation("bias", node.path, "not finite", "finite", "Train again: a bias has diverged.")
    elif constant.any() and not chip.has_bias:
        value = f"{float(np.abs(constant).max()):g}"
        fix = "Train without biases (has_bias=False, bias=Constant(0.0)), or use a chip with biases."
        yield Violation("bias", node.path, value, "no bias", fix)


def _weight_values(circuit: Circuit) -> Iterator[Violation]:
    for projection in circuit.projections:
        if not np.isfinite(projection.weights).all():
            fix = "Train again: the weights have diverged."
            yield Violation("weights", projection.path, "not finite", "finite", fix)


def _alias_order(mapped: MappedNetwork) -> Iterator[Violation]:
    """A copy moves on in the same step only to neurons of higher number."""
    broken = [
        source
        for source, targets in enumerate(mapped.aliases)
        for target in targets
        if target < source and mapped.aliases[target]
    ]
    if broken:
        yield Violation(
            "alias order",
            _names(mapped, broken[0], broken[-1] + 1),
            "copies that must move on to earlier neurons",
            "rising neuron numbers",
            "Let the input reach only layers before this chain of residual blocks.",
        )


def _hidden(mapped: MappedNetwork) -> list[Population]:
    return [population for population in mapped.populations if population.layer == "hidden"]


def _names(mapped: MappedNetwork, start: int, stop: int) -> str:
    return ", ".join(p.path for p in _hidden(mapped) if p.start < stop and p.stop > start)
