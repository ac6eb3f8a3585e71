"""Accuracy against cost on scikit-learn's digits: four ways to make one network smaller.

A small residual network is trained once. Then it is pruned at once by three criteria, pruned with gates that
are learned with the weights, compressed to low rank, and loses whole branches. Every result is trained on for
the same number of steps. Run it with ``python prune_digits.py``; it takes about a minute. ``--picture FILE``
draws the table.
"""

import argparse
import copy
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.dag.channels import coupling
from snnkit.dag.pruning import (
    CostModel,
    GateSettings,
    LearnedPruning,
    Plan,
    Random,
    Taylor,
    compress,
    drop_least_influential,
    prune,
)  # fmt: skip

BUDGETS = (0.5, 0.25, 0.1)
FIRST, AFTER = 300, 100  # steps of training: the network, and what is left of it


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(size, size, 3, padding=1, bias=False), nn.BatchNorm2d(size)
        self.conv2, self.bn2 = nn.Conv2d(size, size, 3, padding=1, bias=False), nn.BatchNorm2d(size)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Net(nn.Module):
    def __init__(self, size: int = 12, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, size, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(blocks)))
        self.head = nn.Linear(size * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.blocks(F.relu(self.stem(x))), 2).flatten(1))


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training images and labels, test images and labels (every fourth)."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    is_test = torch.arange(len(labels)) % 4 == 0
    return images[~is_test], labels[~is_test], images[is_test], labels[is_test]


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int, gates: LearnedPruning | None = None) -> None:
    generator = torch.Generator().manual_seed(1)
    groups = model.parameters() if gates is None else gates.parameter_groups(weight_lr=2e-3, gate_lr=0.1)
    optimiser = torch.optim.Adam(groups, 2e-3)
    model.train()
    for step in range(steps):
        batch = torch.randint(len(x), (64,), generator=generator)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x[batch]), y[batch])
        (loss if gates is None else loss + gates.loss(step)).backward()
        optimiser.step()
    model.eval()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def one_shot(
    net: nn.Module, x: Tensor, y: Tensor, budget: float, importance: object
) -> tuple[nn.Module, float]:
    pruned = prune(net, x[:2], Plan(budget={"macs": budget}, ranking="global", max_ratio=0.95), importance)
    train(pruned.model, x, y, AFTER)
    return pruned.model, pruned.after.macs


def learned(net: nn.Module, x: Tensor, y: Tensor, budget: float) -> tuple[nn.Module, float]:
    gated = LearnedPruning(net, x[:2], Plan(budget={"macs": budget}), GateSettings(total_steps=AFTER))
    train(gated, x, y, AFTER, gated)
    pruned = gated.finish()
    train(pruned.model, x, y, AFTER)
    return pruned.model, pruned.after.macs


def low_rank(net: nn.Module, x: Tensor, y: Tensor, budget: float) -> tuple[nn.Module, float]:
    compressed = compress(net, x[:2], Plan(budget={"macs": budget}))
    train(compressed.model, x, y, AFTER)
    return compressed.model, compressed.after.macs


def blocks(net: nn.Module, x: Tensor, y: Tensor, count: int) -> tuple[nn.Module, float]:
    smaller, _ = drop_least_influential(net, x[:200], count)
    train(smaller, x, y, AFTER)
    return smaller, CostModel(coupling(smaller, x[:2]))({}).macs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    x, y, test_x, test_y = data()
    net = Net()
    train(net, x, y, FIRST)
    whole = CostModel(coupling(net, x[:2]))({}).macs
    print(f"whole network: {whole:,.0f} multiply-accumulates, accuracy {accuracy(net, test_x, test_y):.1%}\n")
    taylor = Taylor(lambda model: F.cross_entropy(model(x[:500]), y[:500]))
    ways = {
        "random": lambda budget: one_shot(net, x, y, budget, Random()),
        "magnitude": lambda budget: one_shot(net, x, y, budget, "magnitude"),
        "Taylor": lambda budget: one_shot(net, x, y, budget, taylor),
        "learned gates": lambda budget: learned(copy.deepcopy(net), x, y, budget),
        "low rank": lambda budget: low_rank(net, x, y, budget),
        "blocks": lambda budget: blocks(net, x, y, {0.5: 1, 0.25: 2, 0.1: 3}[budget]),
    }
    print(f"{'way':<14} " + " ".join(f"{'cost':>8} {'accuracy':>9}" for _ in BUDGETS))
    points: dict[str, list[tuple[float, float]]] = {}
    for name, way in ways.items():
        found = [way(budget) for budget in BUDGETS]
        points[name] = [(macs / whole, accuracy(model, test_x, test_y)) for model, macs in found]
        print(f"{name:<14} " + " ".join(f"{cost:>8.1%} {rate:>9.1%}" for cost, rate in points[name]))
    if options.picture:
        draw(points, accuracy(net, test_x, test_y), options.picture)


def draw(points: dict[str, list[tuple[float, float]]], whole: float, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, found), marker in zip(points.items(), "osD^vP", strict=True):
        axes.plot(*zip(*found, strict=True), marker=marker, label=name, linewidth=1.2)
    axes.axhline(whole, color="0.6", linewidth=0.8, linestyle="--", label="whole network")
    axes.set(xlabel="share of the multiply-accumulates that is left", ylabel="test accuracy", xscale="log")
    axes.set_xticks([0.1, 0.25, 0.5, 1.0], ["10 %", "25 %", "50 %", "100 %"])
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main()
