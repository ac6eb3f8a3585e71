"""What a chip would refuse in a specification, every rule checked against the chip table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from snnkit.utilities.chips import Chip, get_chip

from ..violation import Violation

if TYPE_CHECKING:
    from .core import Specification

__all__ = ["describe_neurons", "specification_violations"]


def specification_violations(spec: "Specification") -> tuple[Violation, ...]:
    """Return every limit of ``spec.chip`` that ``spec`` breaks, in a fixed order."""
    chip = get_chip(spec.chip)
    return (
        *_sizes(spec, chip),
        *_fan_out(spec, chip),
        *_weight_shifts(spec, chip),
        *_dashes(spec, chip),
        *_thresholds(spec, chip),
        *_biases(spec, chip),
        *_aliases(spec, chip),
    )


def describe_neurons(spec: "Specification", layer: str, neurons: np.ndarray) -> str:
    """Name neurons as ranges, with the modules they come from: ``hidden neurons 0-3, 7 (0_LIFTorch)``."""
    ids = np.unique(neurons)
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    names = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    paths = [
        p.path
        for p in spec.populations
        if p.layer == layer and bool(((ids >= p.start) & (ids < p.stop)).any())
    ]
    return f"{layer} neurons {shown}" + (f" ({', '.join(paths)})" if paths else "")


def _sizes(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    expansion_in, expansion_out = spec.weights_in.shape[1], spec.weights_out.shape[0]
    rows = (
        ("input channels", "weights_in", spec.n_in, chip.max_inputs, "Use fewer input channels."),
        (
            "hidden neurons",
            "weights_rec",
            spec.n_hidden,
            chip.max_hidden,
            "Use smaller hidden layers.",
        ),
        ("output neurons", "weights_out", spec.n_out, chip.max_outputs, "Use fewer output neurons."),
        (
            "synapses per hidden neuron",
            "weights_in, weights_rec",
            spec.n_synapses,
            chip.hidden_synapses,
            "Use one synapse for each neuron.",
        ),
        (
            "neurons that take input",
            "weights_in",
            expansion_in,
            chip.max_input_expansion,
            "Make the first hidden layer narrower.",
        ),
        (
            "neurons that drive outputs",
            "weights_out",
            expansion_out,
            chip.max_output_expansion,
            "Make the last hidden layer narrower.",
        ),
    )
    for rule, where, value, limit, fix in rows:
        if value > limit:
            yield Violation(rule, where, value, limit, fix)


def _fan_out(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    fan_out = np.count_nonzero(spec.weights_rec, axis=(1, 2))
    wide = np.flatnonzero(fan_out > chip.max_fanout)
    if wide.size:
        yield Violation(
            "recurrent fan-out",
            describe_neurons(spec, "hidden", wide),
            int(fan_out.max()),
            chip.max_fanout,
            "Prune the weights that leave these neurons.",
        )
    for synapse in range(spec.n_synapses):
        count = int(np.count_nonzero(spec.weights_rec[:, :, synapse]))
        if count > chip.max_recurrent_weights:
            yield Violation(
                "recurrent weights in all",
                f"weights_rec, synapse {synapse + 1}",
                count,
                chip.max_recurrent_weights,
                f"The chip stores {chip.mean_fanout_per_synapse} for each neuron on average: prune weights.",
            )


def _weight_shifts(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    for name in ("weight_shift_in", "weight_shift_rec", "weight_shift_out"):
        value = getattr(spec, name)
        if value > chip.max_weight_shift:
            yield Violation("weight shift", name, value, chip.max_weight_shift, "Use a smaller shift.")


def _dashes(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    names = ["dash_mem", "dash_syn", "dash_mem_out", "dash_syn_out"]
    if spec.n_synapses == 2:
        names.insert(2, "dash_syn_2")
    for name in names:
        dash = getattr(spec, name)
        limit = f"{chip.min_dash}..{chip.max_dash}"
        for wrong, fix in (
            (dash < chip.min_dash, "Dash 0 clears the state before it is used: lengthen the time constant."),
            (dash > chip.max_dash, "Shorten the time constant, or use a longer time step."),
        ):
            if wrong.any():
                yield Violation("dash", _place(spec, name, wrong), _extreme(dash[wrong]), limit, fix)


def _thresholds(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    for name in ("threshold", "threshold_out"):
        threshold = getattr(spec, name).astype(np.int64)
        wrong = (threshold < 1) | (threshold > chip.max_threshold)
        if wrong.any():
            yield Violation(
                "threshold",
                _place(spec, name, wrong),
                _extreme(threshold[wrong]),
                f"1..{chip.max_threshold}",
                "A threshold below 1 fires at every step: use a larger scale.",
            )


def _biases(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    for name in ("bias", "bias_out"):
        bias = getattr(spec, name).astype(np.int64)
        low, high = (-chip.max_bias - 1, chip.max_bias) if chip.has_bias else (0, 0)
        wrong = (bias < low) | (bias > high)
        if wrong.any():
            fix = "Use a smaller scale." if chip.has_bias else "This chip has no bias: train without it."
            limit = f"{low}..{high}" if chip.has_bias else "none"
            yield Violation("bias", _place(spec, name, wrong), _extreme(bias[wrong]), limit, fix)


def _aliases(spec: "Specification", chip: Chip) -> Iterator[Violation]:
    counts = np.array([len(targets) for targets in spec.aliases])
    wrong = counts > chip.max_alias_targets
    if wrong.any():
        yield Violation(
            "alias targets",
            _place(spec, "aliases", wrong),
            int(counts.max()),
            chip.max_alias_targets,
            "Send a residual connection to one layer only.",
        )


def _place(spec: "Specification", name: str, wrong: np.ndarray) -> str:
    layer = "output" if name.endswith("_out") else "hidden"
    return f"{name} of {describe_neurons(spec, layer, np.flatnonzero(wrong))}"


def _extreme(values: np.ndarray) -> int:
    """Return the value of largest magnitude."""
    return int(values[np.abs(values.astype(np.int64)).argmax()])
