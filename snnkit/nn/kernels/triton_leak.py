"""Leaky sums over a sequence for CUDA devices; equations: :mod:`.exp_syn_kernels`. Imports Triton.

A program runs one batch element's block of channels through all steps; states stay in registers. Tensors are
contiguous and of one float type. What a flag in capitals rules out may be None.
"""
# ruff: noqa: ANN201, PLR0917
# mypy: allow-untyped-defs

import triton
import triton.language as tl

__all__ = ["leaky_sum", "leaky_sum_adjoint"]


@triton.jit
def leaky_sum(
    x, decay, ends, charges, currents, steps, channels,
    KEEP_CHARGES: tl.constexpr, KEEP_CURRENTS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Run the sums.

    Args:
        x: (B, T, C) input.
        decay: (C,).
        ends: (B, C) the state, updated in place.
        charges: (B, T, C) sums before their leak, written if asked for.
        currents: (B, T, C) sums after it, written if asked for.
        steps: T.
        channels: C.
        KEEP_CHARGES: write them.
        KEEP_CURRENTS: write them.
        BLOCK: channels of a program.
        STAGES: steps for which input is fetched ahead.
    """
    element = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < channels
    leak = tl.load(decay + c, mask=inside, other=0.0)
    current = tl.load(ends + element * channels + c, mask=inside, other=0.0)
    for t in tl.range(0, steps, num_stages=STAGES):
        place = (element * steps + t) * channels + c
        current += tl.load(x + place, mask=inside, other=0.0)
        if KEEP_CHARGES:
            tl.store(charges + place, current, mask=inside)
        current *= leak
        if KEEP_CURRENTS:
            tl.store(currents + place, current, mask=inside)
    tl.store(ends + element * channels + c, current, mask=inside)


@triton.jit
def leaky_sum_adjoint(
    x, start, currents, decay, g, dc_ends, dx, d_decay, steps, channels,
    G: tl.constexpr, WRITE_DX: tl.constexpr, SUMS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Run the adjoint recursion.

    Args:
        x: (B, T, C) input, read if ``SUMS``.
        start: (B, C) before the first step, read if ``SUMS``.
        currents: (B, T, C) as ``leaky_sum`` wrote them, read if ``SUMS``.
        decay: (C,).
        g: (B, T, C), gradient that arrives for the currents.
        dc_ends: (B, C), in place: from the gradient of the last current to that of the first.
        dx: (B, T, C) gradient of the input, written if asked for.
        d_decay: (B, C), written if asked for.
        steps: T.
        channels: C.
        G: a gradient arrives for the currents.
        WRITE_DX: write it.
        SUMS: write ``d_decay``.
        BLOCK: channels of a program.
        STAGES: steps for which input is fetched ahead.
    """
    element = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < channels
    own = element * channels + c
    leak = tl.load(decay + c, mask=inside, other=0.0)
    dc = tl.load(dc_ends + own, mask=inside, other=0.0)
    total = tl.zeros_like(dc)
    for i in tl.range(0, steps, num_stages=STAGES):
        row = element * steps + (steps - 1 - i)
        rows = row + tl.zeros_like(c)  # a block, as scalar masks don't work in Triton's interpreter
        place = rows * channels + c
        if G:
            dc += tl.load(g + place, mask=inside, other=0.0)
        if SUMS:
            charge = tl.load(currents + place - channels, mask=inside & (rows > element * steps), other=0.0)
            charge += tl.load(start + own, mask=inside & (rows == element * steps), other=0.0)
            charge += tl.load(x + place, mask=inside, other=0.0)
            total += dc * charge
        dc *= leak
        if WRITE_DX:
            tl.store(dx + place, dc, mask=inside)
    tl.store(dc_ends + own, dc, mask=inside)
    if SUMS:
        tl.store(d_decay + own, total, mask=inside)
