"""The way from a trained network to its chip, one change at a time.

The first change after which the events at some place differ from the network's is why the chip differs there.
Each step is a whole run, so a change counts for what it does anywhere before, not only at the place itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from snnkit.transforms.scaling import dash_for_decay, fold_bias
from snnkit.utilities.chips import Chip, get_chip

from ..mapping.mapped_network import MappedNetwork
from ..specification.core import Specification
from .real_core import Pair, RealCore

__all__ = ["Step", "float_core", "integer_core", "steps_between", "steps_to_chip"]

_ROUNDING = 0.5 + 1e-6
"""Of an integer step: what differs by more was not rounded but changed."""


@dataclass(frozen=True, eq=False)
class Step:
    """A name out of :data:`snnkit.hw.divergence.result.CAUSES`, words, and the core with all steps so far."""

    cause: str
    reason: str
    core: RealCore


def steps_to_chip(mapped: MappedNetwork, spec: Specification, scales: Pair) -> Iterator[Step]:
    """Yield the steps from a network, in the chip's layout, to its program in wide integers.

    What is left to the chip itself is saturation.

    Args:
        mapped: the network.
        spec: its program.
        scales: (Nhid,) and (Nout,) factors from the network's units to the program's.
    """
    chip = get_chip(spec.chip)
    core, integer = float_core(mapped), integer_core(spec)
    yield Step("delay", "layers run one step after another on the chip", core)
    core = _with_folded_biases(core, chip)
    yield Step("bias", "on the chip constant inputs act on the membrane, and from the first step on", core)
    core = replace(core, caps=integer.caps, input_cap=integer.input_cap)
    yield Step(
        "clipped events",
        f"the chip takes {chip.input_event_cap} events of an input, {chip.hidden_event_cap} of a hidden and "
        f"{chip.output_event_cap} of an output neuron in a step",
        core,
    )
    core = replace(core, decay_syn=integer.decay_syn, decay_mem=integer.decay_mem)
    yield Step("dash rounding", "decays are bit shifts on the chip", core)
    yield from _rounding_steps(core, integer, spec, scales)
    yield Step("integer states", "the chip's states are whole numbers, and each decay is rounded", integer)


def _rounding_steps(core: RealCore, integer: RealCore, spec: Specification, scales: Pair) -> Iterator[Step]:
    """Yield weights, thresholds and biases as the chip has them, in the network's units."""
    hidden, output = scales
    columns = (hidden[:, None], hidden[:, None], output[:, None])
    shifts = (spec.weight_shift_in, spec.weight_shift_rec, spec.weight_shift_out)
    weights = tuple(values / scale for values, scale in zip(integer.weights, columns, strict=True))
    steps = tuple(2.0**shift / scale for shift, scale in zip(shifts, columns, strict=True))
    yield (step := _rounding("weight", core, weights, steps))
    for name in ("threshold", "bias"):
        values = tuple(v / s for v, s in zip(getattr(integer, name), scales, strict=True))
        yield (step := _rounding(name, step.core, values, tuple(1 / scale for scale in scales)))


def _rounding(
    name: str, core: RealCore, values: tuple[np.ndarray, ...], steps: tuple[np.ndarray, ...]
) -> Step:
    """Return the step that puts ``values`` in; what differs by more than half an integer was not rounded."""
    field, words = {"weight": ("weights", "weights"), "threshold": (name, "thresholds")}.get(
        name, (name, "biases")
    )
    before = getattr(core, field)
    rounded = all(
        bool((np.abs(v - w) <= _ROUNDING * step).all())
        for v, w, step in zip(values, before, steps, strict=True)
    )
    changed: dict[str, Any] = {field: values}
    after = replace(core, **changed)
    if rounded:
        return Step(f"{name} rounding", f"{words} are integers on the chip", after)
    reason = (
        f"{words} on the chip are others than the network's, by more than rounding to nearest: integers that "
        'deploy(..., method="orbit") chose so, or another network\'s program'
    )
    return Step(name, reason, after)


def steps_between(a: MappedNetwork, b: MappedNetwork) -> Iterator[Step]:
    """Yield the steps from one network to another of the same layout."""
    core, goal = float_core(a), float_core(b)
    yield Step("delay", "events take a step from layer to layer in one of the networks", core)
    for cause, words, names in (
        ("clipped events", "the networks allow different numbers of events in a step", ("caps",)),
        ("decay", "the time constants differ", ("decay_syn", "decay_mem")),
        ("weight", "the weights differ", ("weights",)),
        ("threshold", "the thresholds differ", ("threshold",)),
        ("bias", "the biases differ", ("bias", "synaptic_bias")),
    ):
        changed: dict[str, Any] = {name: getattr(goal, name) for name in names}
        core = replace(core, **changed)
        yield Step(cause, words, core)


def float_core(mapped: MappedNetwork) -> RealCore:
    """Return the network in the chip's layout; every population's biases begin with its delay."""
    _, n_hidden, n_out = mapped.shape
    caps = (np.full(n_hidden, np.inf), np.full(n_out, np.inf))
    start = (np.zeros(n_hidden), np.zeros(n_out))
    for population, allowed, delay in zip(mapped.populations, mapped.max_spikes, mapped.delays, strict=True):
        layer = 0 if population.layer == "hidden" else 1
        caps[layer][population.start : population.stop] = allowed
        start[layer][population.start : population.stop] = delay
    return RealCore(
        weights=_full_weights(mapped.weights_in, mapped.weights_rec, mapped.weights_out),
        decay_syn=(mapped.decay_syn, mapped.decay_syn_out[:, None]),
        decay_mem=(mapped.decay_mem, mapped.decay_mem_out),
        threshold=(mapped.threshold, mapped.threshold_out),
        bias=(mapped.bias, mapped.bias_out),
        synaptic_bias=(mapped.synaptic_bias, mapped.synaptic_bias_out[:, None]),
        start=start,
        caps=caps,
        input_cap=np.inf,
        aliases=mapped.aliases,
    )


def integer_core(spec: Specification) -> RealCore:
    """Return a program with real states and no limits; decays are the factors that bit shifts stand for."""
    chip = get_chip(spec.chip)
    syn, mem = _dashes(spec)
    return RealCore(
        weights=_full_weights(
            spec.weights_in.astype(float) * 2**spec.weight_shift_in,
            spec.weights_rec.astype(float) * 2**spec.weight_shift_rec,
            spec.weights_out.astype(float) * 2**spec.weight_shift_out,
        ),
        decay_syn=(1 - 2.0 ** -syn[0], 1 - 2.0 ** -syn[1]),
        decay_mem=(1 - 2.0 ** -mem[0], 1 - 2.0 ** -mem[1]),
        threshold=(spec.threshold.astype(float), spec.threshold_out.astype(float)),
        bias=(spec.bias.astype(float), spec.bias_out.astype(float)),
        synaptic_bias=(np.zeros(syn[0].shape), np.zeros(syn[1].shape)),
        start=(np.zeros(spec.n_hidden), np.zeros(spec.n_out)),
        caps=_event_caps(spec, chip),
        input_cap=float(chip.input_event_cap),
        aliases=spec.aliases,
        dashes=(syn, mem),
    )


def _event_caps(spec: Specification, chip: Chip) -> Pair:
    hidden, output = float(chip.hidden_event_cap), float(chip.output_event_cap)
    return np.full(spec.n_hidden, hidden), np.full(spec.n_out, output)


def _dashes(spec: Specification) -> tuple[Pair, Pair]:
    hidden = np.stack([spec.dash_syn, spec.dash_syn_2], axis=1)[:, : spec.n_synapses]
    synapses = (hidden.astype(float), spec.dash_syn_out[:, None].astype(float))
    return synapses, (spec.dash_mem.astype(float), spec.dash_mem_out.astype(float))


def _with_folded_biases(core: RealCore, chip: Chip) -> RealCore:
    """Put what stands for the biases of linear layers on the membranes."""
    folded = []
    for bias, synaptic, decay in zip(core.bias, core.synaptic_bias, core.decay_syn, strict=True):
        dash = dash_for_decay(torch.from_numpy(np.ascontiguousarray(decay)), chip)
        folded.append(bias + fold_bias(torch.from_numpy(synaptic.reshape(-1)), dash).numpy())
    none = (np.zeros_like(core.synaptic_bias[0]), np.zeros_like(core.synaptic_bias[1]))
    start = (np.zeros_like(core.start[0]), np.zeros_like(core.start[1]))
    return replace(core, bias=(folded[0], folded[1]), synaptic_bias=none, start=start)


def _full_weights(
    weights_in: np.ndarray, weights_rec: np.ndarray, weights_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Widen input and output weights to all hidden neurons; the first take input, the last drive outputs."""
    n_hidden = weights_rec.shape[0]
    missing_in, missing_out = n_hidden - weights_in.shape[1], n_hidden - weights_out.shape[0]
    return (
        np.pad(weights_in, ((0, 0), (0, missing_in), (0, 0))),
        weights_rec,
        np.pad(weights_out, ((missing_out, 0), (0, 0)))[:, :, None],
    )
