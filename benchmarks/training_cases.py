"""The nets of the training benchmark: sizes, weights and input, the same for every library."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["CASES", "Case", "inputs", "pairs", "recurrent_weights", "weights"]


@dataclass(frozen=True)
class Case:
    """A net and what is to be reached with it.

    Attributes:
        name: for the command line.
        batch: sequences.
        steps: time steps.
        sizes: of the layers; one number for a recurrent layer alone.
        recurrent: a single recurrent layer without linear one.
        synnet: snnkit's and Rockpool's SynNet.
        goal: how many times faster than Rockpool's LIFTorch.
        peer_goal: how many times faster than the fastest other library.
    """

    name: str
    batch: int
    steps: int
    sizes: tuple[int, ...]
    recurrent: bool = False
    synnet: bool = False
    goal: float | None = None
    peer_goal: float | None = None


CASES = (
    Case("16-64-64-10", 32, 100, (16, 64, 64, 10), goal=50, peer_goal=5),
    Case("16-256-256-20", 64, 250, (16, 256, 256, 20), goal=45, peer_goal=3),
    Case("16-128-8", 16, 1000, (16, 128, 8), goal=300, peer_goal=15),
    Case("recurrent-256", 32, 250, (256,), recurrent=True, goal=15, peer_goal=4),
    Case("synnet-3x63", 16, 1000, (16, 63, 63, 63, 10), synnet=True),
)


def pairs(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the shapes of the linear layers."""
    return list(pairwise(sizes))


def weights(case: Case) -> list[Tensor]:
    """Draw weights with which hidden neurons emit events in 5 to 10 % of the steps."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) * (0.1 / shape[0] ** 0.5) for shape in pairs(case.sizes)]


def recurrent_weights(case: Case) -> Tensor:
    """Draw weights with which, on these inputs, neurons emit events in 7 % of the steps."""
    n = case.sizes[0]
    return torch.randn(n, n, generator=torch.Generator().manual_seed(2)) * (0.05 / n**0.5)


def inputs(case: Case) -> Tensor:
    """Draw events with probability 0.1; a recurrent layer takes them with a weight."""
    drawn = torch.rand(case.batch, case.steps, case.sizes[0], generator=torch.Generator().manual_seed(0))
    data = (drawn < 0.1).float()
    return data * 0.05 if case.recurrent else data
