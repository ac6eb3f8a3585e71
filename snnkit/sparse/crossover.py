"""Where dense products are faster than sparse ones: what ``mode="auto"`` goes by.

A sparse product costs its weights, a dense one all places; which is faster depends on the density and on how
well the dense product uses the processor, which grows with the batch. The table below was measured by
``benchmarks/sparse.py --crossover`` on two processors, with the layers' own kernels, float32 and one thread;
where the two disagreed the lower density stands. It is a table and not a measurement at run time so that a
layer computes the same on every machine and in every run.
"""

from bisect import bisect_right

__all__ = ["dense_is_faster"]

_BATCHES = (2, 8, 32, 128, 512)
_TRAINING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.4)
_INFERENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.4)


def dense_is_faster(shape: tuple[int, int], density: float, batch: int, training: bool, device: str) -> bool:
    """Return whether a product should go through the dense weight.

    Args:
        shape: of the weight.
        density: share of the places that have a weight.
        batch: samples.
        training: whether gradients will be computed.
        device: type of the device.
    """
    row = bisect_right(_BATCHES, batch)
    return density > (_TRAINING if training else _INFERENCE)[row]
