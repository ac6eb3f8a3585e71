"""Spiking networks to teleport, as a whole and population by population."""

import torch
from torch import Tensor, nn

from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import (
    ExpSynTorch,
    LIFBitshiftTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    aLIFTorch,
)

N = 24


def constants(generator: torch.Generator, count: int = N) -> dict[str, Tensor]:
    """Return thresholds and biases, one for each neuron."""
    return {
        "threshold": torch.rand(count, generator=generator, dtype=torch.float64) + 0.4,
        "bias": torch.randn(count, generator=generator, dtype=torch.float64) * 0.05,
        "tau_mem": torch.full((count,), 5e-3),
    }


def recurrent(cls: type = LIFTorch, seed: int = 0, **options: object) -> nn.Module:
    """Return weights, recurrent neurons with two synapses each, weights, and currents as readout."""
    torch.manual_seed(seed)
    own = constants(torch.Generator().manual_seed(seed))
    neurons = cls((2 * N, N), has_rec=True, tau_syn=5e-3, **own, **options)
    neurons.w_rec.data *= 0.15
    return Sequential(LinearTorch((8, 2 * N)), neurons, LinearTorch((N, 3)), ExpSynTorch(3)).double()


def without_synapses(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    own = constants(torch.Generator().manual_seed(seed))
    return Sequential(LinearTorch((8, N)), LIFNeuronTorch(N, **own), LinearTorch((N, 3))).double()


def filtered(seed: int = 0) -> nn.Module:
    """Weights, synapses that filter, weights again: factors run through the synapses."""
    torch.manual_seed(seed)
    own = constants(torch.Generator().manual_seed(seed))
    return Sequential(
        LinearTorch((8, N)), ExpSynTorch(N, tau=2e-3), LIFNeuronTorch(N, **own), LinearTorch((N, 3))
    ).double()


def skipping(seed: int = 0) -> nn.Module:
    """Two populations whose events are added: on a chip, one is an alias of the other."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return Sequential(
        LinearTorch((8, N)),
        LIFTorch(N, tau_syn=2e-3, **constants(generator)),
        Residual(LinearTorch((N, N)), LIFTorch(N, tau_syn=2e-3, **constants(generator))),
        LinearTorch((N, 3)),
        LIFTorch(3, tau_syn=2e-3, **constants(generator, 3)),
    ).double()


NETS = {
    "LIFTorch": recurrent,
    "LIFBitshiftTorch": lambda: recurrent(LIFBitshiftTorch),
    "aLIFTorch": lambda: recurrent(aLIFTorch),
    "LIFNeuronTorch": without_synapses,
    "ExpSynTorch before LIFNeuronTorch": filtered,
    "Residual": skipping,
}


def events(batch: int = 3, steps: int = 60, channels: int = 8, seed: int = 1, rate: float = 0.4) -> Tensor:
    """Return random events ``(batch, time, channels)`` in float64."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, steps, channels, generator=generator) < rate).double()


def run(net: nn.Module, data: Tensor) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    """Return the output, and what each module recorded, from reset states on."""
    net.reset_state()  # type: ignore[operator]
    with torch.no_grad():
        output, _, record = net(data, record=True)
    return output, dict(_leaves(record))


def _leaves(record: dict, path: str = ""):  # type: ignore[no-untyped-def]
    if any(isinstance(value, Tensor) for value in record.values()):
        yield path, record
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}.{name}" if path else name)
