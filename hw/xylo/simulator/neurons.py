"""One time step of 32 neurons, in vectors: of one neuron in 32 samples, or of 32 neurons in one."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from .vectors import (
    NOBODY,
    add,
    add_clamped,
    at_least,
    bitwise_or,
    bitwise_xor,
    compiled,
    count_bits,
    is_nonzero,
    less,
    maximum,
    minimum,
    select,
    shift_right,
    splat,
    subtract,
)

__all__ = ["ONE", "ZERO", "decayed", "fire", "integrate", "integrate_two"]

ZERO, ONE = np.int16(0), np.int16(1)


@compiled
def decayed(value, dash):
    """Return a state after the decay of one time step."""
    # The shift leaves 0 of a small positive value, where the chip takes 1; a negative one is never 0.
    return subtract(value, maximum(shift_right(value, dash), minimum(value, splat(ONE))))


@compiled
def integrate(value, isyn, dash, bias, version):
    """Return the membrane state with one synapse's current added, and the mask of sums that were clamped.

    Version 1 adds the current to the decayed state, version 2 saturates the increment before adding it.
    """
    after = decayed(value, dash)
    old = splat(ZERO) if version == 1 else value
    base = after if version == 1 else subtract(after, value)
    total = add_clamped(isyn, base)
    return _add_up(old, total, bias, bitwise_xor(total, add(isyn, base)))


@compiled
def integrate_two(value, isyn, isyn_2, dash, bias, version):
    """As :func:`integrate` with two synapses: a sum of three is clamped once."""
    after = decayed(value, dash)
    old = splat(ZERO) if version == 1 else value
    base = after if version == 1 else subtract(after, value)
    both = add_clamped(isyn, isyn_2)
    excess = subtract(add(isyn, isyn_2), both)
    # Only 16 bits are at hand: what the first sum lost is added to the third number.
    total = add_clamped(both, add_clamped(excess, base))
    return _add_up(old, total, bias, bitwise_xor(total, add(add(isyn, isyn_2), base)))


@compiled
def _add_up(old, total, bias, clamped):
    increment = add_clamped(total, bias)
    new = add_clamped(old, increment)
    clamped = bitwise_or(clamped, bitwise_xor(increment, add(total, bias)))
    clamped = bitwise_or(clamped, bitwise_xor(new, add(old, increment)))
    return new, is_nonzero(clamped)


@compiled
def fire(value, events, threshold, cap, present):
    """Fire as long as the state is at the threshold and there are fewer than ``cap`` events.

    Args:
        value: membrane states.
        events: events that count for the cap already.
        threshold: of each neuron, of any sign.
        cap: largest number of events, as a vector.
        present: mask of those that may fire.

    Returns:
        The states, the events, the number of rounds, all events fired, and how many are still at the
        threshold.
    """
    above = np.uint32(at_least(value, threshold) & present)
    firing, rounds, fired = np.uint32(above & less(events, cap)), 0, 0
    while firing != NOBODY:
        events = add(events, select(firing, splat(ONE), splat(ZERO)))
        value = subtract(value, select(firing, threshold, splat(ZERO)))
        fired += count_bits(firing)
        rounds += 1
        above = np.uint32(at_least(value, threshold) & present)
        firing = np.uint32(above & less(events, cap))
    return value, events, rounds, fired, above
