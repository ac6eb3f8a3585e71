"""Small networks and problems for the tests of teleportation in training."""

import torch
from torch import Tensor, nn

__all__ = ["Residual", "cross_entropy", "mlp", "problem", "relative_distance"]

Batch = tuple[Tensor, Tensor]


class Residual(nn.Module):
    """A small convolutional net with batch norm, a skip and a functional activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.conv(x))
        return self.head(x.mean((2, 3)))


def mlp(
    seed: int = 0, activation: type[nn.Module] = nn.ReLU, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(6, 9), activation(), nn.Linear(9, 7), activation(), nn.Linear(7, 3)]
        return nn.Sequential(*layers).to(dtype)


def problem(samples: int = 64, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(samples, 6, generator=generator, dtype=dtype)
    return inputs, torch.randint(3, (samples,), generator=generator)


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def relative_distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest over the tensors of |a - b| / |b|."""
    return max(float((one[n] - other[n]).norm() / other[n].norm()) for n in one)
