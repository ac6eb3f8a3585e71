"""Where dense products are faster than sparse ones: what ``mode="auto"`` goes by.

A sparse product costs its weights, a dense one all places and writing the weight out. Which is faster
depends on the density, and on the batch: dense products use the processor badly for few samples, and
writing out is paid once for all of them. The densities below were measured with this package's kernels,
float32, one thread, on one processor (AMD Zen 5, AVX-512; torch 2.13 with MKL), for layers of 256, 1024 and
2048 neurons. They are a table and not a measurement at run time, so that a layer computes the same in every
run.
"""

__all__ = ["dense_is_faster"]

_BATCHES = (2, 8, 32)
"""Samples from which on the next density holds."""

_TRAINING = (0.2, 0.35, 0.35, 0.5)
_INFERENCE = (0.5, 0.35, 0.5, 0.6)

_ELSEWHERE = 0.02
"""For devices other than CPUs, which were not measured: sparse products seldom pay there."""


def dense_is_faster(density: float, batch: int, training: bool, device: str) -> bool:
    """Return whether a product should go through the dense weight.

    Args:
        density: share of the places that have a weight.
        batch: samples; while a program for any number of them is exported, it is one for many.
        training: whether gradients will be computed.
        device: type of the device.
    """
    if device != "cpu":
        return density > _ELSEWHERE
    row = sum(batch >= least for least in _BATCHES) if isinstance(batch, int) else len(_BATCHES)
    return density > (_TRAINING if training else _INFERENCE)[row]
