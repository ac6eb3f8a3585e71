"""The inner loops that several adjoint recursions share; equations: :mod:`snnkit.nn.lif_sequence`.

As in :mod:`.loops`, each touches few arrays, so that the compiler can use vector instructions.
"""
# ruff: noqa: ANN201, PLR0917
# mypy: allow-untyped-defs

from snnkit.nn.kernels.loops import compiled

__all__ = [
    "add_course",
    "add_product",
    "add_to",
    "alpha_sum",
    "keep",
    "membrane_adjoint",
    "multiply",
    "spike_adjoint",
    "threshold_sum",
]


@compiled
def keep(values, b, t, course):
    """Write step ``t`` of a course."""
    for n in range(values.shape[0]):
        course[b, t, n] = values[n]


@compiled
def add_course(course, b, t, total):
    """Add step ``t`` of a course."""
    for n in range(total.shape[0]):
        total[n] += course[b, t, n]


@compiled
def add_to(values, total):
    """``total += values``."""
    for n in range(values.shape[0]):
        total[n] += values[n]


@compiled
def add_product(one, other, total):
    """``total += one * other``."""
    for n in range(one.shape[0]):
        total[n] += one[n] * other[n]


@compiled
def multiply(slopes, ds):
    """``ds *= slopes``."""
    for n in range(ds.shape[0]):
        ds[n] *= slopes[n]


@compiled
def spike_adjoint(g, b, t, threshold, dv, ds):
    """``ds = g - th dv``; a ``g`` of size 0 is none."""
    if g.size:
        for n in range(ds.shape[0]):
            ds[n] = g[b, t, n] - threshold[n] * dv[n]
    else:
        for n in range(ds.shape[0]):
            ds[n] = -threshold[n] * dv[n]


@compiled
def threshold_sum(spikes, potential, b, t, dv, p, per_threshold, total):
    """Subtract ``s dv + p u / th``."""
    for n in range(p.shape[0]):
        total[n] -= spikes[b, t, n] * dv[n] + (p[n] * potential[b, t, n]) * per_threshold[n]


@compiled
def membrane_adjoint(dv, p, alpha, du):
    """``du = dv + p``, ``dv = alpha du``."""
    for n in range(p.shape[0]):
        du[n] = dv[n] + p[n]
        dv[n] = du[n] * alpha[n]


@compiled
def alpha_sum(du, potential, spikes, vmem, threshold, b, t, total):
    """Add ``du v``, with the potential ``v`` that the step before ``t`` left."""
    if t:
        for n in range(du.shape[0]):
            total[n] += du[n] * (potential[b, t - 1, n] - spikes[b, t - 1, n] * threshold[n])
    else:
        for n in range(du.shape[0]):
            total[n] += du[n] * vmem[b, n]
