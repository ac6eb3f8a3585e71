"""Small random networks for searches over the orbit, and events for them."""

import copy

import torch
from torch import nn

from snnkit.hw.xylo.orbit.settings import OrbitSettings
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch

BRIEF = OrbitSettings(scales=32, rounding=2, shift_recordings=6)
"""Enough to find better programs, in a fraction of the time."""


def neurons(
    generator: torch.Generator, size: int, *, synapses: int = 1, rec: bool = False, bias: bool = False
):
    """LIF neurons whose parameters all differ."""

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    recurrent = {"has_rec": True, "w_rec": 0.28 * torch.randn(size, size * synapses, generator=generator)}
    return LIFTorch(
        (size * synapses, size),
        leak_mode="bitshifts",
        dash_mem=torch.randint(1, 5, (size,), generator=generator).float(),
        dash_syn=torch.randint(1, 4, (size, synapses), generator=generator).float(),
        threshold=uniform(0.6, 1.8, size),
        bias=uniform(-0.02, 0.05, size) if bias else torch.zeros(size),
        **(recurrent if rec else {}),
    )


def linear(generator: torch.Generator, sources: int, targets: int) -> LinearTorch:
    return LinearTorch((sources, targets), weight=0.35 * torch.randn(sources, targets, generator=generator))


def audio_net(seed: int = 0, **options: bool) -> Sequential:
    """One recurrent layer of 10 neurons between 5 inputs and 3 outputs."""
    generator = torch.Generator().manual_seed(seed)
    synapses = 2 if options.pop("two_synapses", False) else 1
    options = {"rec": True, "bias": True} | options
    return Sequential(
        linear(generator, 5, 10 * synapses),
        neurons(generator, 10, synapses=synapses, **options),
        linear(generator, 10, 3),
        neurons(generator, 3, bias=options["bias"]),
    )


def residual_net(seed: int = 0) -> Sequential:
    """A residual block with recurrent neurons: aliases, and two hidden populations."""
    generator = torch.Generator().manual_seed(seed)
    return Sequential(
        linear(generator, 5, 6),
        neurons(generator, 6, bias=True),
        Residual(linear(generator, 6, 6), neurons(generator, 6, rec=True)),
        linear(generator, 6, 3),
        neurons(generator, 3),
    )


def events(seed: int = 0, samples: int = 12, steps: int = 30) -> torch.Tensor:
    """Event counts (samples, steps, 5)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((samples, steps, 5), 0.4), generator=generator)


def scaled(net: nn.Module, factors: dict[str, torch.Tensor]) -> nn.Module:
    """A copy of an :func:`audio_net` whose neurons ``"1_LIFTorch"`` and ``"3_LIFTorch"`` are scaled."""
    net = copy.deepcopy(net)
    modules = list(net)
    with torch.no_grad():
        for place, path in ((1, "1_LIFTorch"), (3, "3_LIFTorch")):
            factor = factors[path]
            population, weights = modules[place], modules[place - 1]
            synapses = weights.weight.shape[1] // len(factor)
            weights.weight.mul_(factor.repeat_interleave(synapses))
            population.threshold.mul_(factor)
            population.bias.mul_(factor)
            if population.w_rec is not None:
                population.w_rec.mul_(factor.repeat_interleave(synapses))
    return net
