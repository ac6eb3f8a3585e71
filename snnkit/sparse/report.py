"""What sparsity brings a model: bytes, multiply-accumulates and measured time, against its dense form."""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snnkit.dag import build_from_unstructured_module
from snnkit.dag.cost import cost_of
from snnkit.sparse.convert import convert
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import Masked
from snnkit.sparse.memory import Memory, memory
from snnkit.sparse.models import convert_model, sparse_layers

__all__ = ["SparseReport", "densified", "report"]


@dataclass(frozen=True)
class SparseReport:
    """A model against its dense form.

    Attributes:
        memory: Bytes, layer by layer.
        dense_bytes: Bytes of the dense form.
        weights: Weights of sparse and masked layers.
        dense_weights: Those of their dense forms.
        macs: Multiply-accumulates of one forward pass. A masked convolution does all of the dense one.
        dense_macs: Those of the dense form.
        seconds: Median time of a forward pass.
        dense_seconds: That of the dense form, in turns with it.
        threads: Threads of torch while measuring.
    """

    memory: Memory
    dense_bytes: int
    weights: int
    dense_weights: int
    macs: int
    dense_macs: int
    seconds: float
    dense_seconds: float
    threads: int

    @property
    def speedup(self) -> float:
        """How many times faster than the dense form."""
        return self.dense_seconds / self.seconds

    def __str__(self) -> str:
        density = self.weights / self.dense_weights if self.dense_weights else 1.0
        return "\n".join(
            [
                str(self.memory),
                f"weights  {self.weights:,} of {self.dense_weights:,} ({density:.1%})",
                f"bytes    {self.memory.total:,} against {self.dense_bytes:,} dense "
                f"({self.memory.total / max(self.dense_bytes, 1):.1%})",
                f"MACs     {self.macs:,} against {self.dense_macs:,} dense "
                f"({self.macs / max(self.dense_macs, 1):.1%})",
                f"forward  {self.seconds * 1e3:.3f} ms against {self.dense_seconds * 1e3:.3f} ms dense "
                f"({self.speedup:.2f}x as fast, {self.threads} thread(s))",
            ]
        )


def report(model: nn.Module, example_inputs: Any, repeats: int = 20) -> SparseReport:
    """Measure a model with sparse layers against the same model with dense ones.

    Both run in evaluation mode without gradients, in turns, after a warm-up; times are medians and hold for
    this machine, these inputs and the present number of threads. A slower sparse model is reported as what it
    is.

    Args:
        model: any model; it is left as it is.
        example_inputs: a tensor, or a tuple of arguments.
        repeats: forward passes of each.

    Raises:
        CaptureError: the model cannot be followed on these inputs; multiply-accumulates are counted on its
            graph.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    sparse = copy.deepcopy(model).eval()
    dense = densified(sparse).eval()
    layers = sparse_layers(sparse).values()
    seconds, dense_seconds = _times([lambda: sparse(*inputs), lambda: dense(*inputs)], repeats, inputs)
    return SparseReport(
        memory(sparse),
        memory(dense).total,
        sum(layer.nnz for layer in layers),
        sum(layer.mask().numel() for layer in layers),
        _macs(sparse, inputs),
        _macs(dense, inputs),
        seconds,
        dense_seconds,
        torch.get_num_threads(),
    )


def densified(model: nn.Module) -> nn.Module:
    """Return a copy of a model in which sparse and masked layers are torch's dense ones."""
    if isinstance(model, SparseLayer | Masked):
        return convert(model, "dense")
    return convert_model(copy.deepcopy(model), (SparseLayer, Masked), "dense")


def _macs(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    return cost_of(build_from_unstructured_module(model, inputs), inputs).macs


def _times(calls: list[Callable[[], Any]], repeats: int, inputs: tuple[Any, ...]) -> list[float]:
    """Return the median time of each call, in seconds; they take turns."""
    on_cuda = any(isinstance(value, torch.Tensor) and value.is_cuda for value in inputs)
    found: list[list[float]] = [[] for _ in calls]
    with torch.no_grad():
        for turn in range(repeats + 2):
            for call, times in zip(calls, found, strict=True):
                start = time.perf_counter()
                call()
                if on_cuda:
                    torch.cuda.synchronize()
                if turn > 1:
                    times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in found]
