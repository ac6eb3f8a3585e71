"""Factors from a network's units to its program's, read from both where nobody kept them."""

import numpy as np

from ..mapping.mapped_network import MappedNetwork
from ..specification.core import Specification
from .real_core import Pair

__all__ = ["scales_between"]


def scales_between(mapped: MappedNetwork, spec: Specification) -> Pair:
    """Return for every hidden and output neuron the factor that turned its parameters into integers.

    A factor ``S`` gives an integer ``q`` for a value ``x`` if ``q - 1/2 <= x S <= q + 1/2``. The middle of
    all those that give a neuron's weights and threshold is taken; where none does, because values were
    changed and not only rounded, the factor of its threshold.
    """
    n_in, n_hidden, n_out = mapped.shape
    receiving, driving = mapped.weights_in.shape[1], mapped.weights_out.shape[0]
    weights_in = np.zeros((n_in, n_hidden, mapped.n_synapses, 2))
    weights_in[:, :receiving, :, 0] = mapped.weights_in
    weights_in[:, : spec.weights_in.shape[1], :, 1] = spec.weights_in
    weights_rec = np.stack([mapped.weights_rec, spec.weights_rec], axis=-1)
    weights_out = np.zeros((n_hidden, n_out, 1, 2))
    weights_out[n_hidden - driving :, :, 0, 0] = mapped.weights_out
    weights_out[n_hidden - spec.weights_out.shape[0] :, :, 0, 1] = spec.weights_out
    largest = mapped.chip.max_threshold
    return (
        _scale(
            [(weights_in, spec.weight_shift_in), (weights_rec, spec.weight_shift_rec)],
            mapped.threshold,
            spec.threshold,
            largest,
        ),
        _scale([(weights_out, spec.weight_shift_out)], mapped.threshold_out, spec.threshold_out, largest),
    )


def _scale(
    weights: list[tuple[np.ndarray, int]], threshold: np.ndarray, integer: np.ndarray, largest: int
) -> np.ndarray:
    """Return (N,) factors; ``weights`` (sources, N, S, 2) hold floats and integers, with their shifts."""
    reached = threshold < largest
    integer = integer.astype(float)
    low = np.where(reached, (integer - 0.5) / threshold, 0.0)
    high = np.where(reached, (integer + 0.5) / threshold, np.inf)
    for pairs, shift in weights:
        x, q = np.abs(pairs[..., 0]), np.abs(pairs[..., 1])
        # Weights at the limit may have been clamped there, and zeros come from small weights.
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds = ((q - 0.5) * 2**shift / x, (q + 0.5) * 2**shift / x)
        known = (x > 0) & (q > 0)
        low = np.maximum(low, np.where(known, bounds[0], 0.0).max(axis=(0, 2), initial=0.0))
        high = np.minimum(high, np.where(known, bounds[1], np.inf).min(axis=(0, 2), initial=np.inf))
    middle = np.where(np.isfinite(high), (low + high) / 2, np.maximum(low, 1.0))
    return np.where(low <= high, middle, np.where(reached, integer / threshold, middle))
