"""Random programs that use, and abuse, everything a Xylo core can do."""

import numpy as np

from snnkit.hw.xylo.specification.core import Specification


def _weights(rng, shape, density, peak):
    values = rng.integers(-peak - 1, peak + 1, shape) * (rng.random(shape) < density)
    return values.clip(-128, 127).astype(np.int8)


def _aliases(rng, n_hidden):
    """None, one, or several targets: self, neuron 0, chains and repeats included."""
    kind = rng.integers(0, 5)
    if kind <= 1:
        return [[] for _ in range(n_hidden)]
    if kind == 2:
        return [[int(rng.integers(n_hidden))] if rng.random() < 0.4 else [] for _ in range(n_hidden)]
    if kind == 3:
        return [[k + 1] if k + 1 < n_hidden else [0] for k in range(n_hidden)]
    return [rng.integers(0, n_hidden, rng.integers(0, 4)).tolist() for _ in range(n_hidden)]


def _thresholds(rng, n):
    """Mostly ordinary, at times zero, negative or at the ends of the range."""
    values = rng.integers(1, int(rng.choice([20, 200, 3000, 32768])), n)
    odd = rng.random(n) < rng.choice([0.0, 0.0, 0.2])
    values[odd] = rng.choice([0, -1, -50, -20000, -32768, 1, 32767], odd.sum())
    return values


def _bias(rng, n, enabled):
    if not enabled:
        return np.zeros(n, int)
    peak = int(rng.choice([5, 127, 32767]))
    return rng.integers(-peak, peak + 1, n) * (rng.random(n) < 0.7)


def random_specification(
    rng: np.random.Generator, version: int = 2, n_hidden: int | None = None
) -> Specification:
    n_in, n_out = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    n_hidden = n_hidden or int(rng.integers(1, 24))
    n_synapses = int(rng.integers(1, 3))
    n_ien, n_oen = int(rng.integers(1, n_hidden + 1)), int(rng.integers(1, n_hidden + 1))
    density, peak = rng.choice([0.05, 0.3, 1.0]), int(rng.choice([3, 30, 127]))
    shifts = [int(rng.choice([0, 0, 0, 2, 5, 9, 15])) for _ in range(3)]
    low, high = [(0, 16), (0, 3), (1, 6), (10, 16)][rng.integers(4)]
    biased = version == 2 and rng.random() < 0.5
    return Specification.create(
        chip="a2" if version == 2 else "a1",
        weights_in=_weights(rng, (n_in, n_ien, n_synapses), density, peak),
        weights_rec=_weights(rng, (n_hidden, n_hidden, n_synapses), density, peak),
        weights_out=_weights(rng, (n_oen, n_out), density, peak),
        dash_mem=rng.integers(low, high, n_hidden),
        dash_syn=rng.integers(low, high, n_hidden),
        dash_syn_2=rng.integers(low, high, n_hidden),
        dash_mem_out=rng.integers(low, high, n_out),
        dash_syn_out=rng.integers(low, high, n_out),
        threshold=_thresholds(rng, n_hidden),
        threshold_out=_thresholds(rng, n_out),
        bias=_bias(rng, n_hidden, biased),
        bias_out=_bias(rng, n_out, biased),
        weight_shift_in=shifts[0],
        weight_shift_rec=shifts[1],
        weight_shift_out=shifts[2],
        aliases=_aliases(rng, n_hidden),
    )


def random_raster(rng: np.random.Generator, n_steps: int, n_in: int) -> np.ndarray:
    """Counts 0..255: sparse, dense, above the cap, and with silent stretches."""
    peak = int(rng.choice([1, 3, 15, 40, 255]))
    raster = rng.integers(0, peak + 1, (n_steps, n_in)) * (
        rng.random((n_steps, n_in)) < rng.choice([0.05, 0.3, 1])
    )
    if rng.random() < 0.4:
        raster[n_steps // 3 :] = 0
    return raster
