"""Hypothesis strategies that more than one test file draws from."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snnkit.hw.xylo.specification.core import Population, Specification
from snnkit.nn.combinators import Residual, Sequential, TorchSequential
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.utilities.chips import Chip, get_chip


def _integers(low: int, high: int, shape: tuple[int, ...], dtype: type) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(dtype, shape, elements=st.integers(low, high))


def _weights(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.int8, shape, elements=st.integers(-128, 127), fill=st.just(0))


@st.composite
def specifications(
    draw: st.DrawFn, chip: str | Chip = "imu", legal: bool = False, max_neurons: int = 8
) -> Specification:
    """Draw a small specification; with ``legal`` the chip takes it, else anything that simulates.

    Unrestricted ones have dashes 0..16, any 16-bit threshold and bias, shifts 0..15, several
    aliases of one neuron (onto itself and onto neuron 0 too) and biases on chips without them.
    """
    entry = get_chip(chip)
    n_in, n_hidden = draw(st.integers(1, 4)), draw(st.integers(1, max_neurons))
    n_ien, n_oen = draw(st.integers(1, n_hidden)), draw(st.integers(1, n_hidden))
    n_out = draw(st.integers(1, 4))
    n_syn = draw(st.integers(1, entry.hidden_synapses if legal else 2))
    dash = (entry.min_dash, entry.max_dash) if legal else (0, 16)
    threshold = (1, entry.max_threshold) if legal else (-32768, 32767)
    bias = (-entry.max_bias - 1, entry.max_bias) if entry.has_bias else (0, 0)
    bias = bias if legal else (-32768, 32767)
    shift = st.integers(0, entry.max_weight_shift if legal else 15)
    targets = st.lists(st.integers(0, n_hidden - 1), max_size=entry.max_alias_targets if legal else 3)
    values: dict[str, Any] = {
        "weights_in": draw(_weights((n_in, n_ien, n_syn))),
        "weights_rec": draw(_weights((n_hidden, n_hidden, n_syn))),
        "weights_out": draw(_weights((n_oen, n_out))),
        "aliases": tuple(tuple(draw(targets)) for _ in range(n_hidden)),
        "dt": draw(st.sampled_from([entry.default_dt, 1e-3, 1.024e-3])),
        "populations": draw(st.sampled_from([(), (Population("0_LIFTorch", "hidden", 0, n_hidden),)])),
    }
    for name in ("dash_mem", "dash_syn", "dash_syn_2"):
        values[name] = draw(_integers(*dash, (n_hidden,), np.uint8))
    for name in ("dash_mem_out", "dash_syn_out"):
        values[name] = draw(_integers(*dash, (n_out,), np.uint8))
    for name, size in (("", n_hidden), ("_out", n_out)):
        values["threshold" + name] = draw(_integers(*threshold, (size,), np.int16))
        values["bias" + name] = draw(_integers(*bias, (size,), np.int16))
    for name in ("in", "rec", "out"):
        values[f"weight_shift_{name}"] = draw(shift)
    return Specification(chip=entry.name, **values)


@st.composite
def _neurons(draw: st.DrawFn, size: int, synapses: int = 1) -> LIFTorch:
    leak_mode = draw(st.sampled_from(["taus", "decays", "bitshifts"]))
    return LIFTorch(
        (size * synapses, size),
        leak_mode=leak_mode,
        threshold=draw(st.floats(0.1, 3.0)),
        bias=draw(st.floats(0.0, 0.2)),
        has_rec=draw(st.booleans()),
        max_spikes_per_dt=draw(st.sampled_from([1, 15, 31])),
        dt=draw(st.sampled_from([1e-3, 2.5e-3])),
    )


@st.composite
def spiking_networks(draw: st.DrawFn, size_in: int = 3, nested: bool = True) -> TorchSequential:
    """Draw a network of weights, neurons of any leak mode, and residual blocks; 1 to 3 layers."""
    layers: list[TorchModule] = []
    size = size_in
    for _ in range(draw(st.integers(1, 3))):
        if nested and draw(st.booleans()):
            layers.append(Residual(LinearTorch((size, size)), draw(_neurons(size))))
            continue
        target, synapses = draw(st.integers(1, 5)), draw(st.integers(1, 2))
        layers.append(LinearTorch((size, target * synapses), has_bias=draw(st.booleans())))
        layers.append(draw(_neurons(target, synapses)))
        size = target
    return Sequential(*layers)
