"""Writing states of all neurons in one time step to arrays (samples, time, neurons)."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from .program import WIDTH
from .vectors import compiled, interleave_high, interleave_low, load, store

__all__ = ["record_lanes", "record_single"]


@compiled
def _rotate(source, first, target):
    """Move number i of 1024 to the place whose ten bits are those of i, rotated left by one."""
    for row in range(WIDTH // 2):
        a = load(source, first + row * WIDTH)
        b = load(source, first + (row + WIDTH // 2) * WIDTH)
        store(target, 2 * row * WIDTH, interleave_low(a, b))
        store(target, (2 * row + 1) * WIDTH, interleave_high(a, b))


@compiled
def _transpose(source, first, result, scratch):
    """Transpose 32 vectors: five rotations exchange the bits of row and column."""
    _rotate(source, first, result)
    _rotate(result, 0, scratch)
    _rotate(scratch, 0, result)
    _rotate(result, 0, scratch)
    _rotate(scratch, 0, result)


@compiled
def record_lanes(array, step, values, first_neuron, result, scratch):
    """Write ``values`` (neurons, 32) from ``first_neuron`` on to ``array[:, step]``, if that is wanted."""
    lanes, n_steps, n = array.shape
    for start in range(0, n, WIDTH):
        _transpose(values, (first_neuron + start) * WIDTH, result, scratch)
        for lane in range(lanes):
            if start + WIDTH <= n:
                store(array, (lane * n_steps + step) * n + start, load(result, lane * WIDTH))
                continue
            for k in range(start, n):
                array[lane, step, k] = result[lane * WIDTH + k - start]


@compiled
def record_single(array, step, values, first_neuron):
    """Write ``values`` (neurons,) from ``first_neuron`` on to ``array[0, step]``, if that is wanted."""
    for k in range(array.shape[2]):
        array[0, step, k] = values[first_neuron + k]
