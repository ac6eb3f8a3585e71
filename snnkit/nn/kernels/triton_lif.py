"""The kernels of spiking neurons for CUDA devices; importing this imports Triton.

Equations: :mod:`snnkit.nn.lif_sequence`, for adaptation those of :mod:`.lif_kernels`. A program runs one
batch element's block of neurons through all steps; its states stay in registers. Neurons that feed back must
share a program, as programs cannot wait for each other: with recurrence the block is the whole population,
and events (forward) and gradients (backward) pass from step to step through memory, behind a barrier.

Tensors are contiguous and of one float type. Axes: ``B``, ``T``, ``N``, ``S``; channels ``C = N S``. Blocks
have two axes, neurons and synapses, both rounded up to powers of two. With ``SYNAPSES = 0`` the input
charges the membrane itself. What a flag in capitals rules out may be None. Sums run in ascending order over
synapses; over neurons with events in tiles, whose own order is the compiler's.
"""
# ruff: noqa: ANN201, ANN202, PLR0912, PLR0915, PLR0917, SIM102, SIM108
# mypy: allow-untyped-defs

import triton
import triton.language as tl

__all__ = ["lif_backward", "lif_forward"]


@triton.jit
def _divide(one, other):
    """Divide as torch does: Triton's own division of float32 is not rounded correctly."""
    if one.dtype == tl.float32:
        quotient = tl.div_rn(one, other)
    else:
        quotient = one / other
    return quotient


@triton.jit
def _over_synapses(values, synapse, SYNAPSES: tl.constexpr):
    """Sum over axis 1 in ascending order."""
    total = tl.sum(tl.where(synapse[None, :] == 0, values, 0.0), 1)
    for s in tl.static_range(1, SYNAPSES):
        total += tl.sum(tl.where(synapse[None, :] == s, values, 0.0), 1)
    return total


@triton.jit
def _received(events, w_rec, neurons, channels, channel, real, TILE: tl.constexpr):
    """Return ``events @ w_rec``; tiles without events are passed over, weights of silent neurons not read."""
    total = tl.zeros(channel.shape, w_rec.dtype.element_ty)
    for first in range(0, neurons, TILE):
        m = first + tl.arange(0, TILE)
        event = tl.load(events + m, mask=m < neurons, other=0.0)
        if tl.sum((event != 0).to(tl.int32), 0) > 0:
            mask = (event != 0)[:, None, None] & real[None, :, :]
            place = m[:, None, None] * channels + channel[None, :, :]
            total += tl.sum(event[:, None, None] * tl.load(w_rec + place, mask=mask, other=0.0), 0)
    return total


@triton.jit
def _fed_back(dc, w_rec, channels, neuron, needed, TILE: tl.constexpr):
    """Return ``w_rec @ dc`` for the neurons that are needed, 0 for the others."""
    total = tl.zeros(neuron.shape, w_rec.dtype.element_ty)
    for first in range(0, channels, TILE):
        c = first + tl.arange(0, TILE)
        inside = c < channels
        gradient = tl.load(dc + c, mask=inside, other=0.0)
        mask = needed[:, None] & inside[None, :]
        weight = tl.load(w_rec + neuron[:, None] * channels + c[None, :], mask=mask, other=0.0)
        total += tl.sum(weight * gradient[None, :], 1)
    return total


@triton.jit
def lif_forward(
    x, noise, first_events, alpha, beta, bias, threshold, w_rec, w_ahp, gamma,
    vmem_end, isyn_end, iahp_end, spikes, potentials, charges, adaptations, steps, neurons,
    SYNAPSES: tl.constexpr, CAP: tl.constexpr, NOISY: tl.constexpr, RECURRENT: tl.constexpr,
    ADAPTS: tl.constexpr, KEEP_POTENTIALS: tl.constexpr, KEEP_CHARGES: tl.constexpr,
    KEEP_ADAPTATIONS: tl.constexpr, BLOCK: tl.constexpr, LANES: tl.constexpr, TILE: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Run the neurons.

    Args:
        x: (B, T, C) input; (B, T, N) without synapses.
        noise: (B, T, N).
        first_events: (B, N) events before the first step.
        alpha: (N,) membrane decays.
        beta: (C,) synaptic decays.
        bias: (N,).
        threshold: (N,).
        w_rec: (N, C).
        w_ahp: (N,) charge of the adaptation per event.
        gamma: (N,) its decays.
        vmem_end: (B, N) the state, updated in place; so are the next two.
        isyn_end: (B, C).
        iahp_end: (B, N).
        spikes: (B, T, N), written.
        potentials: (B, T, N) before reset, written if asked for; so are the next two.
        charges: (B, T, C) currents before their leak.
        adaptations: (B, T, N) currents of the adaptation.
        steps: T.
        neurons: N.
        SYNAPSES: S, or 0.
        CAP: most events per step.
        NOISY: there is noise.
        RECURRENT: there are recurrent weights.
        ADAPTS: there is adaptation.
        KEEP_POTENTIALS: write them.
        KEEP_CHARGES: write them.
        KEEP_ADAPTATIONS: write them.
        BLOCK: neurons of a program.
        LANES: synapses, rounded up.
        TILE: presynaptic neurons taken at once.
        STAGES: steps for which input is fetched ahead; 1 with recurrence.
    """
    element = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = n < neurons
    synapse = tl.arange(0, LANES)
    channels = neurons * SYNAPSES
    c = n[:, None] * SYNAPSES + synapse[None, :]
    real = inside[:, None] & (synapse < SYNAPSES)[None, :]
    own = element * neurons + n
    vmem = tl.load(vmem_end + own, mask=inside, other=0.0)
    decay = tl.load(alpha + n, mask=inside, other=0.0)
    current = tl.load(bias + n, mask=inside, other=0.0)
    limit = tl.load(threshold + n, mask=inside, other=1.0)
    if SYNAPSES:
        isyn = tl.load(isyn_end + element * channels + c, mask=real, other=0.0)
        leak = tl.load(beta + c, mask=real, other=0.0)
    if ADAPTS:
        iahp = tl.load(iahp_end + own, mask=inside, other=0.0)
        tiring = tl.load(w_ahp + n, mask=inside, other=0.0)
        recovery = tl.load(gamma + n, mask=inside, other=0.0)
        before = tl.load(first_events + own, mask=inside, other=0.0)
    else:
        before = tl.zeros_like(vmem)
    if RECURRENT:
        received = _received(first_events + element * neurons, w_rec, neurons, channels, c, real, TILE)
    for t in tl.range(0, steps, num_stages=STAGES):
        row = element * steps + t
        place = row * neurons + n
        if SYNAPSES:
            isyn += tl.load(x + row * channels + c, mask=real, other=0.0)
            if RECURRENT:
                isyn += received
            if KEEP_CHARGES:
                tl.store(charges + row * channels + c, isyn, mask=real)
            isyn *= leak
            vmem = vmem * decay + _over_synapses(isyn, synapse, SYNAPSES)
        else:
            vmem = vmem * decay + tl.load(x + place, mask=inside, other=0.0)
        if ADAPTS:
            iahp = (iahp + before * tiring) * recovery
            vmem += iahp
            if KEEP_ADAPTATIONS:
                tl.store(adaptations + place, iahp, mask=inside)
        if NOISY:
            vmem += tl.load(noise + place, mask=inside, other=0.0)
        vmem += current
        if KEEP_POTENTIALS:
            tl.store(potentials + place, vmem, mask=inside)
        before = tl.floor(_divide(vmem, limit))
        before = tl.where(before < 0, 0.0, before)  # written so that NaN stays NaN
        before = tl.where(before > CAP, CAP, before)
        tl.store(spikes + place, before, mask=inside)
        vmem -= before * limit
        if RECURRENT:
            tl.debug_barrier()
            if t + 1 < steps:
                received = _received(spikes + row * neurons, w_rec, neurons, channels, c, real, TILE)
    tl.store(vmem_end + own, vmem, mask=inside)
    if SYNAPSES:
        tl.store(isyn_end + element * channels + c, isyn, mask=real)
    if ADAPTS:
        tl.store(iahp_end + own, iahp, mask=inside)


@triton.jit
def _slope(
    u, limit, PERIODIC: tl.constexpr, WINDOW: tl.constexpr, RELATIVE: tl.constexpr, CAP: tl.constexpr
):  # fmt: skip
    """Return the surrogate slope: PeriodicExponential's, else StepPWL's."""
    if PERIODIC:
        half = limit * 0.5
        shifted = u - half
        periods = tl.floor(_divide(shifted, limit))
        periods = tl.where(periods > CAP - 1, CAP - 1, periods)
        folded = tl.where(u < limit, shifted, shifted - periods * limit)
        if RELATIVE:
            bump = tl.exp(-tl.abs(folded - half) / (limit * WINDOW))
        else:
            bump = tl.exp(-tl.abs(folded - half) / WINDOW)
        slope = _divide(bump, limit)
    else:
        if RELATIVE:
            lowest = limit - limit * WINDOW
        else:
            lowest = limit - WINDOW
        slope = _divide(tl.where(u >= lowest, tl.zeros_like(limit) + 1.0, 0.0), limit)
    return slope


@triton.jit
def lif_backward(
    spikes, first_events, vmem_start, potentials, charges, adapting, alpha, beta, threshold, w_rec, w_ahp,
    gamma, g_spikes, g_potentials, g_charges, g_adaptations, dv_ends, dc_ends, dq_ends, dx, du_all, sums,
    d_beta, batch, steps, neurons,
    SYNAPSES: tl.constexpr, PERIODIC: tl.constexpr, WINDOW: tl.constexpr, RELATIVE: tl.constexpr,
    CAP: tl.constexpr, RECURRENT: tl.constexpr, ADAPTS: tl.constexpr, G_SPIKES: tl.constexpr,
    G_POTENTIALS: tl.constexpr, G_CHARGES: tl.constexpr, G_ADAPTATIONS: tl.constexpr,
    WRITE_DX: tl.constexpr, WRITE_DU: tl.constexpr,
    SUMS: tl.constexpr, BETA_SUM: tl.constexpr, BLOCK: tl.constexpr, LANES: tl.constexpr,
    TILE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Run the adjoint recursion.

    Args:
        spikes: (B, T, N) as the forward pass wrote them; so are the potentials.
        first_events: (B, N) before the first step.
        vmem_start: (B, N) before the first step.
        potentials: (B, T, N).
        charges: (B, T, C), read if ``BETA_SUM``.
        adapting: (B, T, N), the charges ``q`` of the adaptation, read if ``ADAPTS`` and ``SUMS``.
        alpha: (N,).
        beta: (C,).
        threshold: (N,).
        w_rec: (N, C).
        w_ahp: (N,).
        gamma: (N,).
        g_spikes: (B, T, N), gradient that arrives; so are the next three.
        g_potentials: (B, T, N).
        g_charges: (B, T, C).
        g_adaptations: (B, T, N).
        dv_ends: (B, N), in place: from the gradient of the last vmem to that of the first.
        dc_ends: (B, C), the same of isyn.
        dq_ends: (B, N), the same of iahp.
        dx: (B, T, C) gradient of the input, written if asked for; (B, T, N) without synapses.
        du_all: (B, T, N) gradient of the noise, written if asked for.
        sums: (5, B, N): sums for alpha, bias, threshold, w_ahp and gamma, written if asked for.
        d_beta: (B, C): sums for beta, written if asked for.
        batch: B.
        steps: T.
        neurons: N.
        SYNAPSES: S, or 0.
        PERIODIC: PeriodicExponential, else StepPWL.
        WINDOW: of the surrogate.
        RELATIVE: the window is in units of the threshold.
        CAP: most events per step.
        RECURRENT: there are recurrent weights; needs ``WRITE_DX``.
        ADAPTS: there is adaptation.
        G_SPIKES: a gradient of them arrives.
        G_POTENTIALS: likewise.
        G_CHARGES: likewise.
        G_ADAPTATIONS: likewise.
        WRITE_DX: write it.
        WRITE_DU: write it.
        SUMS: write them.
        BETA_SUM: write it.
        BLOCK: neurons of a program.
        LANES: synapses, rounded up.
        TILE: channels of ``w_rec`` taken at once.
        STAGES: steps for which input is fetched ahead; 1 with recurrence.
    """
    element = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = n < neurons
    synapse = tl.arange(0, LANES)
    channels = neurons * SYNAPSES
    c = n[:, None] * SYNAPSES + synapse[None, :]
    real = inside[:, None] & (synapse < SYNAPSES)[None, :]
    own = element * neurons + n
    decay = tl.load(alpha + n, mask=inside, other=0.0)
    limit = tl.load(threshold + n, mask=inside, other=1.0)
    dv = tl.load(dv_ends + own, mask=inside, other=0.0)
    if SYNAPSES:
        dc = tl.load(dc_ends + element * channels + c, mask=real, other=0.0)
        leak = tl.load(beta + c, mask=real, other=0.0)
    if ADAPTS:
        dq = tl.load(dq_ends + own, mask=inside, other=0.0)
        tiring = tl.load(w_ahp + n, mask=inside, other=0.0)
        recovery = tl.load(gamma + n, mask=inside, other=0.0)
    d_alpha, d_bias, d_threshold = tl.zeros_like(dv), tl.zeros_like(dv), tl.zeros_like(dv)
    d_tiring, d_recovery = tl.zeros_like(dv), tl.zeros_like(dv)
    if BETA_SUM:
        d_leak = tl.zeros_like(dc)
    begin = element * steps
    for i in tl.range(0, steps, num_stages=STAGES):
        row = begin + (steps - 1 - i)
        rows = row + tl.zeros_like(n)  # a block, as scalar masks don't work in Triton's interpreter
        place = row * neurons + n
        u = tl.load(potentials + place, mask=inside, other=0.0)
        slope = _slope(u, limit, PERIODIC, WINDOW, RELATIVE, CAP)
        ds = -limit * dv
        if G_SPIKES:
            ds += tl.load(g_spikes + place, mask=inside, other=0.0)
        if ADAPTS:
            ds += tl.where(rows + 1 < begin + steps, tiring * dq, 0.0)
        if RECURRENT:
            if i > 0:
                needed = inside & (slope != 0)
                ds += _fed_back(dx + (row + 1) * channels, w_rec, channels, n, needed, TILE)
        p = ds * slope
        if SUMS:
            events = tl.load(spikes + place, mask=inside, other=0.0)
            d_threshold -= events * dv + _divide(p * u, limit)
        if G_POTENTIALS:
            dv += tl.load(g_potentials + place, mask=inside, other=0.0)
        du = dv + p
        if ADAPTS:
            dq += du
            if G_ADAPTATIONS:
                dq += tl.load(g_adaptations + place, mask=inside, other=0.0)
            if SUMS:
                d_recovery += dq * tl.load(adapting + place, mask=inside, other=0.0)
            dq *= recovery
        if SUMS:
            later = inside & (rows > begin)
            u_before = tl.load(potentials + place - neurons, mask=later, other=0.0)
            before = tl.load(spikes + place - neurons, mask=later, other=0.0)
            left = u_before - before * limit
            first = inside & (rows == begin)
            left += tl.load(vmem_start + own, mask=first, other=0.0)
            d_alpha += du * left
            d_bias += du
            if ADAPTS:
                before += tl.load(first_events + own, mask=first, other=0.0)
                d_tiring += before * dq
        if SYNAPSES:
            dc += du[:, None]
            if BETA_SUM:
                d_leak += dc * tl.load(charges + row * channels + c, mask=real, other=0.0)
            dc *= leak
            if G_CHARGES:
                dc += tl.load(g_charges + row * channels + c, mask=real, other=0.0)
            if WRITE_DX:
                tl.store(dx + row * channels + c, dc, mask=real)
        elif WRITE_DX:
            tl.store(dx + place, du, mask=inside)
        if WRITE_DU:
            tl.store(du_all + place, du, mask=inside)
        if RECURRENT:
            tl.debug_barrier()
        dv = du * decay
    tl.store(dv_ends + own, dv, mask=inside)
    if SYNAPSES:
        tl.store(dc_ends + element * channels + c, dc, mask=real)
    if ADAPTS:
        tl.store(dq_ends + own, dq, mask=inside)
    if SUMS:
        part = batch * neurons
        tl.store(sums + own, d_alpha, mask=inside)
        tl.store(sums + part + own, d_bias, mask=inside)
        tl.store(sums + 2 * part + own, d_threshold, mask=inside)
        if ADAPTS:
            tl.store(sums + 3 * part + own, d_tiring, mask=inside)
            tl.store(sums + 4 * part + own, d_recovery, mask=inside)
    if BETA_SUM:
        tl.store(d_beta + element * channels + c, d_leak, mask=real)
