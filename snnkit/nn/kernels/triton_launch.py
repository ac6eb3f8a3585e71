"""Runs Triton's kernels on torch's tensors; importing this imports Triton."""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

__all__ = ["Blocks", "launch"]

FEED_FORWARD = 64
"""Channels of a program without recurrence: few, as there are more programs then to hide memory's delay."""

TILE = 4096
"""Recurrent weights that a program takes at once."""

STAGES = 4
"""Steps for which input is fetched ahead."""


class Blocks(NamedTuple):
    """How neurons are shared among programs.

    Attributes:
        neurons: of a program.
        lanes: synapses, rounded up to a power of two.
        presynaptic: neurons taken at once from the recurrent weights, forward.
        channels: taken at once from them, backward.
        stages: steps for which input is fetched ahead.
        programs: for each batch element.
        warps: of 32 threads in a program.
    """

    neurons: int
    lanes: int
    presynaptic: int
    channels: int
    stages: int
    programs: int
    warps: int

    @classmethod
    def of(cls, neurons: int, synapses: int, recurrent: bool) -> "Blocks":
        """Choose for a population; ``synapses`` may be 0."""
        lanes = triton.next_power_of_2(max(synapses, 1))
        block = triton.next_power_of_2(neurons)
        if not recurrent:
            block = min(block, max(FEED_FORWARD // lanes, 1))
        size = block * lanes
        return cls(
            neurons=block,
            lanes=lanes,
            presynaptic=min(max(TILE // size, 1), 16),
            channels=min(max(TILE // block, 1), 32),
            stages=1 if recurrent else STAGES,
            programs=triton.cdiv(neurons, block),
            warps=min(max(size // 32, 1), 16) if recurrent else 1,
        )


def launch(
    kernel: Any, grid: tuple[int, int], *arguments: Any, warps: int, exact: bool = False, **constants: Any
) -> None:
    """Run a kernel on the device of its first argument.

    Args:
        kernel: to run.
        grid: batch elements, and programs for each.
        *arguments: of the kernel; the first of them is a tensor.
        warps: of 32 threads in a program.
        exact: don't fuse multiplication and addition, so that values equal those of torch's operations.
        **constants: the kernel's flags and numbers in capitals.
    """
    first: Tensor = arguments[0]
    device = torch.cuda.device(first.device) if first.is_cuda else nullcontext()
    with device:
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=not exact)
