"""Train a spiking network for a Xylo chip with a plain torch loop.

Two classes of event patterns are told apart: the same five channels fire in rising or in falling order.
Run it with ``python examples/train_for_xylo.py``; it takes a few seconds.
"""

import torch

from snnkit.hw.xylo import check
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.training.torch_loss import bounds_cost, make_bounds

CHANNELS, CLASSES, STEPS, DT = 5, 2, 50, 5e-3


def sweeps(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Make ``count`` rasters (count, STEPS, CHANNELS) of rising or falling sweeps, with noise events."""
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    rasters = (torch.rand(count, STEPS, CHANNELS, generator=generator) < 0.02).float()
    for sample, label in enumerate(labels.tolist()):
        order = range(CHANNELS) if label == 0 else range(CHANNELS - 1, -1, -1)
        for position, channel in enumerate(order):
            start = position * STEPS // CHANNELS
            rasters[sample, start : start + STEPS // CHANNELS : 2, channel] += 3
    return rasters, labels


def build(seed: int) -> TorchModule:
    """A hidden layer of 24 recurrent neurons and one output neuron per class."""
    torch.manual_seed(seed)
    # Weak recurrence at the start, and the chip's limit of 31 events per step: activity cannot explode.
    return Sequential(
        LinearTorch((CHANNELS, 24)),
        LIFTorch(
            24,
            tau_mem=20e-3,
            tau_syn=20e-3,
            has_rec=True,
            w_rec=0.1 * torch.randn(24, 24) / 24**0.5,
            max_spikes_per_dt=31,
            dt=DT,
        ),
        LinearTorch((24, CLASSES)),
        LIFTorch(CLASSES, tau_mem=20e-3, tau_syn=20e-3, max_spikes_per_dt=1, dt=DT),
    )


def train(net: TorchModule, rasters: torch.Tensor, labels: torch.Tensor, epochs: int = 30) -> None:
    """Train ``net`` on event counts; the output neuron with the most events is the class."""
    # Time constants below 1.5 time steps cannot be held by the chip's bit shifts.
    lower, upper = make_bounds(net.parameters())
    for layer in ("1_LIFTorch", "3_LIFTorch"):
        lower[layer]["tau_mem"] = lower[layer]["tau_syn"] = 1.5 * DT

    # Time constants are small numbers of seconds: they need far smaller steps than weights.
    optimiser = torch.optim.Adam(
        [
            {"params": net.parameters(["weights", "bias"]).astorch(), "lr": 5e-3},
            {"params": net.parameters("taus").astorch(), "lr": 1e-4},
        ]
    )
    for epoch in range(1, epochs + 1):
        optimiser.zero_grad()
        net.reset_state()
        output, _, record = net(rasters, record=True)
        loss = torch.nn.functional.cross_entropy(output.mean(1) * 10, labels)
        # Few events keep the states small, so that 16 bits hold them finely; they also cost less energy.
        activity = record["1_LIFTorch_output"].mean()
        (loss + 0.1 * activity + bounds_cost(net.parameters(), lower, upper)).backward()
        optimiser.step()
        if epoch % 10 == 0:
            print(f"epoch {epoch:2d}  loss {loss.item():.3f}")


def main() -> None:
    """Train, print the test accuracy and what the network uses of a Xylo-IMU."""
    generator = torch.Generator().manual_seed(0)
    net = build(seed=1)
    train(net, *sweeps(128, generator))

    rasters, labels = sweeps(128, generator)
    net.reset_state()
    with torch.no_grad():
        output, _, _ = net(rasters)
    print(f"test accuracy {(output.sum(1).argmax(1) == labels).float().mean():.1%}")
    print(check(net, "imu"))


if __name__ == "__main__":
    main()
