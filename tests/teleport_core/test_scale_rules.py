"""How many factors and signs pass through each kind of operation, and that the function stays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from snnkit.dag.analysis.recording import record
from snnkit.dag.scales import scales_of_tape
from snnkit.teleport import random, symmetries, teleport


class Net(nn.Module):
    """Layers by name, and a forward that is given."""

    def __init__(self, forward: Callable[..., Tensor], **layers: Any) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(self, *inputs)


@dataclass(frozen=True)
class Case:
    """A net, its inputs, and how many factors and signs are free."""

    net: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    scales: int
    signs: int


def _image() -> tuple[Tensor, ...]:
    return (torch.randn(2, 3, 8, 8),)


def _rows() -> tuple[Tensor, ...]:
    return (torch.randn(4, 5),)


def _tokens() -> tuple[Tensor, ...]:
    return (torch.randn(2, 4, 5),)


def _two(middle: Callable[[Tensor], Tensor], width: int = 6) -> Callable[[], nn.Module]:
    """A linear layer, a function, another linear layer."""
    forward = lambda n, x: n.b(middle(n.a(x)))  # noqa: E731
    return lambda: Net(forward, a=nn.Linear(5, width), b=nn.Linear(width, 3))


def _images(middle: Callable[[Any, Tensor], Tensor], channels: int = 6, **layers: Any) -> Any:
    """A convolution, what is given, a mean over positions, a linear layer."""

    def forward(n: Any, x: Tensor) -> Tensor:
        return n.head(middle(n, n.stem(x)).mean((2, 3)))

    return lambda: Net(
        forward, stem=nn.Conv2d(3, 6, 3), head=nn.Linear(channels, 2), **{k: v() for k, v in layers.items()}
    )


def _after_relu(n: Any, y: Tensor) -> Tensor:
    return torch.relu(n.c(torch.relu(y)))


def _attention(n: Any, x: Tensor) -> Tensor:
    q, k, v = (layer(x).unflatten(-1, (2, 3)).transpose(1, 2) for layer in (n.q, n.k, n.v))
    return n.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _written(n: Any, x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], 6)
    y[:, :4] = n.a(x)
    y[:, 4:] = n.c(x)
    return n.b(torch.relu(y))


def _viewed(n: Any, x: Tensor) -> Tensor:
    y = n.a(x)
    y.view(-1, 2, 3).mul_(2.0).relu_()
    return n.b(y)


def _shared_twice(n: Any, x: Tensor) -> Tensor:
    x = torch.relu(n.a(x))
    return n.b(torch.relu(n.shared(torch.relu(n.shared(x)) + x)))


def _linear_attention(n: Any, x: Tensor) -> Tensor:
    q, k, v = torch.relu(n.q(x)), torch.relu(n.k(x)), n.v(x)
    return n.out(q @ (k.transpose(1, 2) @ v) / 4)


def _qkv() -> dict[str, nn.Module]:
    return {"q": nn.Linear(5, 6), "k": nn.Linear(5, 6), "v": nn.Linear(5, 6), "out": nn.Linear(6, 3)}


CASES: dict[str, Case] = {
    # --- functions of one number
    "relu": Case(_two(torch.relu), _rows, 6, 0),
    "leaky_relu": Case(_two(lambda y: F.leaky_relu(y, 0.1)), _rows, 6, 0),
    "tanh": Case(_two(torch.tanh), _rows, 0, 6),
    "gelu": Case(_two(F.gelu), _rows, 0, 0),
    "identity": Case(_two(lambda y: y), _rows, 6, 6),
    "abs": Case(_two(torch.abs), _rows, 6, 6),
    "square": Case(_two(torch.square), _rows, 6, 6),
    "relu6": Case(_two(F.relu6), _rows, 0, 0),
    "hardtanh far out": Case(_two(lambda y: y.clamp(-1e4, 1e4)), _rows, 0, 6),
    "tiny bound": Case(_two(lambda y: y.clamp(min=1e-12)), _rows, 0, 0),
    "constant added": Case(_two(lambda y: y + 1e-9), _rows, 0, 0),
    "constant factor": Case(_two(lambda y: 0.3 * y), _rows, 6, 6),
    "power and root": Case(_two(lambda y: torch.relu(y).pow(3).sqrt()), _rows, 6, 0),
    "rounding": Case(_two(torch.round), _rows, 0, 6),
    "indicator": Case(_two(lambda y: y * (y > 0)), _rows, 6, 0),
    "where": Case(_two(lambda y: torch.where(y < 0, 0.2 * y, y)), _rows, 6, 0),
    "prelu": Case(lambda: nn.Sequential(nn.Linear(5, 6), nn.PReLU(6), nn.Linear(6, 3)), _rows, 6, 0),
    # --- of several
    "gate by itself": Case(_two(lambda y: y * torch.sigmoid(y)), _rows, 0, 0),
    "quotient": Case(_two(lambda y: y / (y.abs().sum(-1, keepdim=True))), _rows, 1, 6),
    "product": Case(
        lambda: Net(lambda n, x: n.b(n.a(x) * torch.relu(n.c(x))), a=nn.Linear(5, 6), c=nn.Linear(5, 6),
                    b=nn.Linear(6, 3)), _rows, 12, 6),
    "sigmoid gate": Case(
        lambda: Net(lambda n, x: n.b(n.a(x) * torch.sigmoid(n.c(x))), a=nn.Linear(5, 6), c=nn.Linear(5, 6),
                    b=nn.Linear(6, 3)), _rows, 6, 6),
    "glu": Case(lambda: Net(lambda n, x: n.b(F.glu(n.a(x))), a=nn.Linear(5, 12), b=nn.Linear(6, 3)),
                _rows, 6, 6),
    "maximum": Case(
        lambda: Net(lambda n, x: n.b(torch.maximum(n.a(x), n.c(x))), a=nn.Linear(5, 6), c=nn.Linear(5, 6),
                    b=nn.Linear(6, 3)), _rows, 6, 0),
    "addition in either order": Case(
        lambda: Net(lambda n, x: n.b(torch.relu(n.c(n.d(x)) + n.a(x) - n.d(x)).add(n.a(x))),
                    a=nn.Linear(5, 6), c=nn.Linear(6, 6), d=nn.Linear(5, 6), b=nn.Linear(6, 3)),
        _rows, 6, 0),
    "softmax": Case(_two(lambda y: y.softmax(-1)), _rows, 0, 0),
    "normalised": Case(_two(lambda y: F.normalize(y, dim=-1, eps=0.0)), _rows, 1, 6),
    # --- arranging
    "cat": Case(
        lambda: Net(lambda n, x: n.b(torch.cat([torch.relu(n.a(x)), n.c(x)], 1)), a=nn.Linear(5, 4),
                    c=nn.Linear(5, 3), b=nn.Linear(7, 2)), _rows, 7, 3),
    "split and flip": Case(
        lambda: Net(lambda n, x: n.b(torch.relu(n.a(x).flip(1)).split([2, 4], 1)[1]), a=nn.Linear(5, 6),
                    b=nn.Linear(4, 2)), _rows, 6, 0),
    "padded with zeros": Case(
        lambda: Net(lambda n, x: n.b(torch.relu(F.pad(n.a(x), (1, 2)) + n.c(x))), a=nn.Linear(5, 4),
                    c=nn.Linear(5, 7), b=nn.Linear(7, 2)), _rows, 7, 0),
    "rolled": Case(_two(lambda y: torch.relu(y.roll(1, -1)) + torch.relu(y)), _rows, 1, 0),
    "slices": Case(
        lambda: Net(lambda n, x: n.b(torch.relu(n.a(x)[:, ::2]) - torch.relu(n.a(x)[:, 1::2])),
                    a=nn.Linear(5, 12), b=nn.Linear(6, 3)), _rows, 6, 0),
    "flattened maps": Case(
        lambda: Net(lambda n, x: n.b(torch.relu(n.a(x)).flatten(1)), a=nn.Conv2d(3, 4, 3),
                    b=nn.Linear(4 * 36, 2)), _image, 4, 0),
    "written in parts": Case(
        lambda: Net(_written, a=nn.Linear(5, 4), c=nn.Linear(5, 2), b=nn.Linear(6, 3)), _rows, 6, 0),
    "written through a view": Case(lambda: Net(_viewed, a=nn.Linear(5, 6), b=nn.Linear(6, 3)), _rows, 6, 0),
    "embedding": Case(
        lambda: Net(lambda n, i: n.b(torch.relu(n.a(i).mean(1))), a=nn.Embedding(11, 6), b=nn.Linear(6, 3)),
        lambda: (torch.randint(11, (2, 4)),), 6, 0),
    "looked up rows": Case(_two(lambda y: torch.relu(y)[torch.tensor([0, 0, 2, 1])]), _rows, 6, 0),
    # --- convolutions
    "grouped": Case(_images(_after_relu, 8, c=lambda: nn.Conv2d(6, 8, 3, groups=2)), _image, 14, 0),
    "depthwise": Case(_images(_after_relu, c=lambda: nn.Conv2d(6, 6, 3, groups=6)), _image, 12, 0),
    "depthwise multiplier": Case(
        _images(_after_relu, 12, c=lambda: nn.Conv2d(6, 12, 3, groups=6)),
        _image, 18, 0),
    "transposed": Case(
        _images(_after_relu, 4, c=lambda: nn.ConvTranspose2d(6, 4, 2, 2)),
        _image, 10, 0),
    "transposed in groups": Case(
        _images(_after_relu, 4,
                c=lambda: nn.ConvTranspose2d(6, 4, 2, 2, groups=2)), _image, 10, 0),
    "without bias": Case(_images(_after_relu, c=lambda: nn.Conv2d(6, 6, 1, bias=False)), _image, 12, 0),
    "pixel shuffle": Case(
        lambda: Net(lambda n, x: n.b(F.pixel_shuffle(torch.relu(n.a(x)), 2)), a=nn.Conv2d(3, 8, 1),
                    b=nn.Conv2d(2, 3, 1)), _image, 2, 0),
    "channel shuffle": Case(
        _images(lambda n, y: n.c(F.channel_shuffle(torch.relu(y), 3)).relu(),
                c=lambda: nn.Conv2d(6, 6, 1, groups=2)), _image, 12, 0),
    # --- pooling
    "max pool": Case(_images(lambda n, y: F.max_pool2d(y, 2)), _image, 6, 0),
    "average pool": Case(_images(lambda n, y: F.avg_pool2d(y, 2)), _image, 6, 6),
    "adaptive pool": Case(_images(lambda n, y: F.adaptive_avg_pool2d(torch.relu(y), 3)), _image, 6, 0),
    "upsampling": Case(_images(lambda n, y: F.interpolate(y, scale_factor=2, mode="bilinear")), _image, 6, 6),
    # --- normalisation
    "batch norm": Case(_images(lambda n, y: torch.relu(n.c(y)), c=lambda: nn.BatchNorm2d(6)), _image, 12, 6),
    "batch norm without gain": Case(
        _images(lambda n, y: torch.relu(n.c(y)), c=lambda: nn.BatchNorm2d(6, affine=False)), _image, 6, 0),
    "batch norm of the batch": Case(
        _images(lambda n, y: torch.relu(n.c(y)), c=lambda: nn.BatchNorm2d(6, track_running_stats=False)),
        _image, 6, 0),
    "group norm": Case(_images(lambda n, y: torch.relu(n.c(y)), c=lambda: nn.GroupNorm(2, 6)), _image, 6, 0),
    "instance norm": Case(
        _images(lambda n, y: torch.relu(n.c(y)), c=lambda: nn.InstanceNorm2d(6, affine=True)), _image, 6, 0),
    "layer norm": Case(lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 3)), _rows, 6, 6),
    "rms norm": Case(lambda: nn.Sequential(nn.Linear(5, 6), nn.RMSNorm(6), nn.Linear(6, 3)), _rows, 6, 12),
    "weight norm": Case(
        lambda: nn.Sequential(weight_norm(nn.Linear(5, 6)), nn.ReLU(), nn.Linear(6, 3)), _rows, 6, 0),
    # --- reuse
    "layer used twice": Case(
        lambda: Net(_shared_twice, a=nn.Linear(5, 6), shared=nn.Linear(6, 6), b=nn.Linear(6, 3)),
        _rows, 6, 0),
    "attention": Case(lambda: Net(_attention, **_qkv()), _tokens, 12, 12),
    "attention without softmax": Case(lambda: Net(_linear_attention, **_qkv()), _tokens, 13, 6),
    "cell": Case(
        lambda: Net(lambda n, x: n.b(n.a(x)[0]), a=nn.LSTM(5, 4, batch_first=True), b=nn.Linear(4, 2)),
        _tokens, 0, 0),
    "before a cell": Case(
        lambda: Net(lambda n, x: n.b(n.a(torch.relu(n.c(x)))[0]), c=nn.Linear(5, 6),
                    a=nn.GRU(6, 4, batch_first=True, bidirectional=True), b=nn.Linear(8, 2)), _tokens, 6, 0),
    # --- without a rule
    "barrier": Case(_two(lambda y: torch.relu(y).cummax(-1).values), _rows, 0, 0),
    "sorted": Case(_two(lambda y: torch.relu(y).sort(-1).values), _rows, 0, 0),
}  # fmt: skip


def _made(case: Case) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    net = case.net().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net, tuple(x.double() if x.is_floating_point() else x for x in case.inputs())


@pytest.mark.parametrize("name", CASES)
def test_factors_and_signs_that_are_free(name):
    net, inputs = _made(CASES[name])
    found = symmetries(net, inputs)
    assert (found.n_scales, found.n_signs) == (CASES[name].scales, CASES[name].signs), found


@pytest.mark.parametrize("name", CASES)
def test_the_function_stays(name):
    net, inputs = _made(CASES[name])
    found = symmetries(net, inputs)
    with torch.no_grad():
        before = net(*inputs)
        for seed, sampling in enumerate(("inter_landscape", "positive", "negative")):
            generator = torch.Generator().manual_seed(seed)
            teleport(net, random(found, 0.9, sampling, generator=generator, permutations=True))
            after = net(*inputs)
            assert float((after - before).abs().max() / before.abs().max()) < 1e-12


def test_powers_of_a_factor_are_found_exactly():
    net, inputs = _made(CASES["power and root"])
    (freedom,) = symmetries(net, inputs).scales
    assert dict(freedom.members) == {"a.weight": 1, "a.bias": 1, "b.weight": -1.5}


def test_every_rule_of_the_cases_is_known():
    unknown = {}
    for name, case in CASES.items():
        if name not in ("barrier", "sorted"):
            found = scales_of_tape(record(*_made(case)))
            unknown |= {f"{name}: {kind}": count for kind, count in found.barriers.items()}
    assert not unknown
