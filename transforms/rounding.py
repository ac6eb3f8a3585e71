"""Rounding to a given number of levels, with the identity as gradient.

One grid serves all functions. With ``maintain_zero`` the value 0 is always a level: a grid of an even
number of levels over a symmetric range has none, so it then uses one level fewer (255 instead of 256 over
``[-m, m]``: what an int8 weight offers). Without it the levels divide the range evenly, end to end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snnkit.utilities.errors import ParameterError, ShapeError

from .modes import is_deterministic
from .passthrough import straight_through

__all__ = [
    "deterministic_rounding",
    "int_quant",
    "stochastic_channel_rounding",
    "stochastic_rounding",
    "uniform",
]

Range = Sequence[float] | Tensor


def deterministic_rounding(
    value: Tensor,
    input_range: Range | None = None,
    output_range: Range | None = None,
    num_levels: int = 256,
    maintain_zero: bool = True,
) -> Tensor:
    """Round ``value`` (any shape) to the nearest of at most ``num_levels`` levels.

    ``input_range`` ``[low, high]`` is what the levels span: by default ``[-m, m]`` with ``m = max|value|``,
    or ``[min, max]`` without ``maintain_zero``. Values outside a given range are clipped to it and receive
    no gradient; all others receive the identity, whatever the ranges. ``output_range`` (default: the input
    range) is what the levels are mapped to, ``[-128, 127]`` say, for whole numbers.

    With ``maintain_zero``, 0 becomes exactly 0 where both ranges hold it and agree on its place to within a
    level. Raises :class:`ParameterError` for an empty range or too few levels.
    """
    return _round_to_levels(value, (input_range, output_range), num_levels, maintain_zero, noise=None)


def stochastic_rounding(  # noqa: PLR0917  (Rockpool's arguments)
    value: Tensor,
    input_range: Range | None = None,
    output_range: Range | None = None,
    num_levels: int = 256,
    maintain_zero: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Round ``value`` up or down at random, so that the result is right on average.

    Arguments as in :func:`deterministic_rounding`, and ``generator``, which makes the draw reproducible (it
    may live on another device than ``value``). Inside a wrapped network in evaluation mode it rounds to
    the nearest level instead.
    """
    noise = None if is_deterministic() else uniform(value, generator)
    return _round_to_levels(value, (input_range, output_range), num_levels, maintain_zero, noise)


def stochastic_channel_rounding(
    value: Tensor,
    output_range: Range | None = None,
    num_levels: int = 256,
    maintain_zero: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Stochastic rounding with a range of its own per target: ``value`` is ``(Nsrc, N)`` or ``(Nsrc, N, S)``.

    The levels of column ``i`` span ``value[:, i]`` and are mapped to ``output_range`` (default: the range of
    that column). See :func:`stochastic_rounding` for the other arguments.
    """
    if value.ndim < 2:
        raise ShapeError(
            f"stochastic_channel_rounding needs (Nsrc, N) or (Nsrc, N, S), not {tuple(value.shape)}; "
            "use stochastic_rounding for vectors."
        )
    sources = [axis for axis in range(value.ndim) if axis != 1]
    noise = None if is_deterministic() else uniform(value, generator)
    return _round_to_levels(value, (None, output_range), num_levels, maintain_zero, noise, axes=sources)


def int_quant(
    value: Tensor,
    maintain_zero: bool = True,
    map_to_max: bool = False,
    n_bits: int = 8,
    max_n_bits: int = 8,
) -> Tensor:
    """Scale ``value`` to signed integers of ``n_bits`` bits (as floats), with the identity as gradient.

    The largest magnitude becomes ``2**(n_bits - 1) - 1``; 0 stays 0 with ``maintain_zero``, and without it
    the middle of the values' range does. ``map_to_max`` spreads the same ``n_bits`` levels over the integers
    of ``max_n_bits`` bits, so 3 bits give 0, ±42, ±85 and ±127.
    """
    if n_bits < 2 or max_n_bits < 2:
        raise ParameterError(
            f"n_bits={n_bits}, max_n_bits={max_n_bits}: signed integers need 2 bits or more."
        )
    if value.numel() == 0:
        return value.clone()
    source = _exact(value)
    if not maintain_zero:
        source = source - (source.amax() + source.amin()) / 2
    top = 2 ** (n_bits - 1) - 1
    integers = torch.round(source / _nonzero(source.abs().amax()) * top)
    if map_to_max:
        integers = torch.round(integers * ((2 ** (max_n_bits - 1) - 1) / top))
    return straight_through(value, integers)


def uniform(value: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return uniform numbers in [0, 1) shaped as ``value``, on its device, drawn on the generator's."""
    device = value.device if generator is None else generator.device
    return torch.rand(value.shape, generator=generator, device=device).to(value.device)


@dataclass(frozen=True)
class _Grid:
    """Where levels lie: input and output range, ``()`` or broadcastable to the values, and their number."""

    low: Tensor
    high: Tensor
    out_low: Tensor
    out_high: Tensor
    num_levels: int


def _round_to_levels(  # noqa: PLR0917
    value: Tensor,
    ranges: tuple[Range | None, Range | None],
    num_levels: int,
    maintain_zero: bool,
    noise: Tensor | None,
    axes: list[int] | None = None,
) -> Tensor:
    """Common body: ``noise`` None rounds to nearest, else up where the fraction exceeds it."""
    _check_levels(num_levels, maintain_zero)
    if value.numel() == 0:
        return value.clone()
    exact = _exact(value)
    low, high = _limits(exact, ranges[0], maintain_zero, axes)
    out_low, out_high = (low, high) if ranges[1] is None else _as_range(ranges[1], exact, "output_range")
    grid = _Grid(low, high, out_low, out_high, num_levels)
    clipped = exact.clamp(low, high)
    rounded = _affine_levels(clipped, grid, noise)
    if maintain_zero:
        keeps_zero, with_zero = _zero_levels(clipped, grid, noise)
        rounded = torch.where(keeps_zero, with_zero, rounded)
    source = value if ranges[0] is None else value.clamp(float(low), float(high))
    return straight_through(source, rounded)


def _affine_levels(value: Tensor, grid: _Grid, noise: Tensor | None) -> Tensor:
    """Levels that divide the range evenly, both ends included."""
    step_in = (grid.high - grid.low) / (grid.num_levels - 1)
    step_out = (grid.out_high - grid.out_low) / (grid.num_levels - 1)
    return grid.out_low + _round((value - grid.low) / _nonzero(step_in), noise) * step_out


def _zero_levels(value: Tensor, grid: _Grid, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """Levels with 0 among them, and where they apply: both ranges hold 0 at the same place."""
    low, high, out_low, out_high = grid.low, grid.high, grid.out_low, grid.out_high
    span_out = _nonzero(out_high - out_low)
    negative = torch.floor((grid.num_levels - 1) * -out_low / span_out + 1e-9).clamp(min=0)
    positive = torch.floor((grid.num_levels - 1) * out_high / span_out + 1e-9).clamp(min=0)
    infinite = torch.full_like(span_out, torch.inf)
    step_out = torch.minimum(
        torch.where(negative > 0, -out_low / _nonzero(negative), infinite),
        torch.where(positive > 0, out_high / _nonzero(positive), infinite),
    )
    step_out = torch.where(torch.isfinite(step_out), step_out, torch.zeros_like(step_out))
    step_in = _nonzero((high - low) / _nonzero(negative + positive))
    # -0.0 would print as a weight that is there.
    codes = _round(value / step_in, noise).clamp(-negative, positive) + 0.0
    zero_lands_at = out_low - low / step_in * step_out
    holds_zero = (low <= 0) & (high >= 0) & (out_low <= 0) & (out_high >= 0)
    return holds_zero & ((zero_lands_at.abs() <= step_out) | (high == low)), codes * step_out


def _exact(value: Tensor) -> Tensor:
    """Return doubles: they keep the ends of a float32 range exact, which makes rounding idempotent."""
    # Apple's GPUs have no doubles.
    return value.detach() if value.device.type == "mps" else value.detach().to(torch.float64)


def _round(codes: Tensor, noise: Tensor | None) -> Tensor:
    nearest = torch.round(codes)
    if noise is None:
        return nearest
    # A value that is a level up to float32 noise stays there, so that rounding twice changes nothing.
    on_level = (codes - nearest).abs() <= 1e-6 * codes.abs().clamp(min=1.0)
    base = torch.floor(codes)
    return torch.where(on_level, nearest, base + (codes - base > noise))


def _limits(
    value: Tensor, given: Range | None, maintain_zero: bool, axes: list[int] | None
) -> tuple[Tensor, Tensor]:
    if given is not None:
        return _as_range(given, value, "input_range")
    axes = list(range(value.ndim)) if axes is None else axes
    keep = len(axes) < value.ndim
    if maintain_zero:
        peak = value.abs().amax(axes, keepdim=keep)
        return -peak, peak
    return value.amin(axes, keepdim=keep), value.amax(axes, keepdim=keep)


def _as_range(given: Range, like: Tensor, name: str) -> tuple[Tensor, Tensor]:
    values = torch.as_tensor(given, dtype=like.dtype, device=like.device).detach()
    if values.shape != (2,) or not bool(values[0] < values[1]):
        raise ParameterError(f"{name} is {given}; it must be [low, high] with low below high.")
    return values[0], values[1]


def _nonzero(values: Tensor) -> Tensor:
    return torch.where(values == 0, torch.ones_like(values), values)


def _check_levels(num_levels: int, maintain_zero: bool) -> None:
    least = 3 if maintain_zero else 2
    if num_levels < least:
        fix = " Use maintain_zero=False for two levels." if num_levels == 2 else ""
        raise ParameterError(f"num_levels is {num_levels}; at least {least} are needed.{fix}")
