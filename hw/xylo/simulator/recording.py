"""Writing states of all neurons in one time step to rows of an array."""
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
def record_lanes(array, rows, step, lanes, values, first_neuron, n, result, scratch):
    """Write the first ``n`` of ``values`` (neurons, 32) from ``first_neuron`` on, if that is wanted.

    ``array`` holds rows of ``n`` numbers, that of a sample in a time step at ``first + sample * lane_rows +
    step * step_rows``, these three being ``rows``; or it is empty.
    """
    if array.size == 0:
        return
    first, lane_rows, step_rows = rows
    for start in range(0, n, WIDTH):
        _transpose(values, (first_neuron + start) * WIDTH, result, scratch)
        for lane in range(lanes):
            at = (first + lane * lane_rows + step * step_rows) * n + start
            if start + WIDTH <= n:
                store(array, at, load(result, lane * WIDTH))
                continue
            for k in range(n - start):
                array[at + k] = result[lane * WIDTH + k]


@compiled
def record_single(array, rows, step, values, first_neuron, n):
    """As :func:`record_lanes` for one sample: ``values`` (neurons,)."""
    if array.size == 0:
        return
    at = (rows[0] + step * rows[2]) * n
    for k in range(n):
        array[at + k] = values[first_neuron + k]
