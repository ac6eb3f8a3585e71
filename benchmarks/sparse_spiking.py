"""Sparse recurrent LIF neurons against dense ones: forward and backward pass of one population.

    python benchmarks/sparse_spiking.py [--neurons 1024] [--batch 4] [--steps 100] [--activity 0.05]

``dense`` is ``LIFTorch`` on the compiled kernels with all its recurrent weights; ``masked`` the same with a
weight multiplied by a mask at every call, as pruning with masks does; ``sparse`` is ``SparseLIFTorch`` with
the weights of that mask on its own kernels, whatever the density (left to itself it writes the weights out
above a density at which that is faster). All get the same input; the recurrent weights are weak, and the
threshold is such that the given share of the neurons fires in a step. Times are single-threaded CPU ms, the
least of interleaved repeats; events and gradients of the nets are compared first.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkit.nn.modules import LIFTorch
from snnkit.sparse.spiking import SparseLIFTorch, lif_function

DENSITIES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
STRENGTH = 0.02
DECAY = 0.5


@dataclass(frozen=True)
class Row:
    """Times of one density in ms."""

    density: float
    activity: float
    dense: float
    masked: float
    sparse: float


class Masked(nn.Module):
    """Dense neurons whose recurrent weights are multiplied by a mask at every call."""

    def __init__(self, neurons: LIFTorch, mask: Tensor) -> None:
        super().__init__()
        self.neurons, self.mask = neurons, mask

    def forward(self, data: Tensor) -> Tensor:
        """Return the events."""
        own = {"w_rec": self.neurons.w_rec * self.mask}
        return torch.func.functional_call(
            _Output(self.neurons), {f"inner.{k}": v for k, v in own.items()}, data
        )


class _Output(nn.Module):
    def __init__(self, inner: LIFTorch) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, data: Tensor) -> Tensor:
        output: Tensor = self.inner(data)[0]
        return output


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all densities and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--neurons", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--activity", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lif_function.DENSE_FROM = 2.0
    print(
        f"{options.neurons} neurons, batch {options.batch}, {options.steps} steps, forward and backward: ms"
    )
    print("density activity   dense  masked  sparse  dense/sparse  masked/sparse")
    for density in DENSITIES:
        row = measured(density, options)
        print(
            f"{row.density:7.2f} {row.activity:8.3f} {row.dense:7.1f} {row.masked:7.1f} {row.sparse:7.1f} "
            f"{row.dense / row.sparse:13.1f} {row.masked / row.sparse:14.1f}",
            flush=True,
        )


def measured(density: float, options: argparse.Namespace) -> Row:
    """Measure one density."""
    generator = torch.Generator().manual_seed(0)
    size = options.neurons
    data = torch.rand(options.batch, options.steps, size, generator=generator)
    weight = STRENGTH * torch.randn(size, size, generator=generator) / size**0.5
    mask = torch.rand(size, size, generator=generator) < density
    dense = population(weight, data, options.activity)
    alike = population(weight * mask, data, options.activity, dense.threshold)
    sparse, masked = SparseLIFTorch.from_dense(alike, mask), Masked(alike, mask)
    gradient = torch.randn(options.batch, options.steps, size, generator=generator)
    runs: dict[str, Callable[[], Tensor]] = {
        "dense": lambda: dense(data)[0],
        "masked": lambda: masked(data),
        "sparse": lambda: sparse(data)[0],
    }
    found = {name: once(run, gradient) for name, run in runs.items()}
    compare(alike, sparse, found)
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(options.repeats):
        for name, run in runs.items():
            for module in (dense, alike, sparse):
                module.reset_state()
                module.zero_grad()
            start = time.process_time()
            once(run, gradient)
            least[name] = min(least[name], 1e3 * (time.process_time() - start))
    activity = float((found["sparse"] > 0).float().mean())
    return Row(density, activity, **least)


def population(weight: Tensor, data: Tensor, activity: float, threshold: Tensor | None = None) -> LIFTorch:
    """Return neurons of which a share fires in a step of ``data``: by one threshold, found by bisection."""
    size = len(weight)
    neurons = LIFTorch(
        size, leak_mode="decays", alpha=DECAY, beta=DECAY, has_rec=True, w_rec=weight, max_spikes_per_dt=1
    )
    if threshold is not None:
        neurons.threshold = threshold.detach().clone()
        return neurons
    low, high = 0.0, 10.0
    for _ in range(20):
        neurons.threshold = torch.full((size,), (low + high) / 2)
        neurons.reset_state()
        with torch.no_grad():
            rate = float((neurons(data[:1])[0] > 0).float().mean())
        low, high = ((low + high) / 2, high) if rate > activity else (low, (low + high) / 2)
    return neurons.reset_state()


def once(run: Callable[[], Tensor], gradient: Tensor) -> Tensor:
    """Run forward and backward; return the events."""
    output = run()
    output.backward(gradient)
    return output.detach()


def compare(alike: LIFTorch, sparse: SparseLIFTorch, found: dict[str, Tensor]) -> None:
    """Stop unless sparse and masked neurons agree."""
    if not torch.equal(found["masked"], found["sparse"]):
        raise SystemExit("The events of the sparse neurons differ from those of the masked ones.")
    expected = alike.w_rec.grad.reshape(-1)[sparse.synapses.flat_indices()]
    error = float((sparse.synapses.values.grad - expected).abs().max() / expected.abs().max())
    if error > 1e-4:
        raise SystemExit(f"The gradients of the weights differ by {error:.1e} of the largest.")


if __name__ == "__main__":
    main()
