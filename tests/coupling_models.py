"""Small models of many kinds, for the tests of coupling and pruning."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

Case = tuple[nn.Module, tuple[Tensor, ...]]


class Residual(nn.Module):
    def __init__(self, size_in: int, size_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size_in, size_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(size_out)
        self.conv2 = nn.Conv2d(size_out, size_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(size_out)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(size_in, size_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.blocks = nn.Sequential(Residual(8, 8), Residual(8, 12, 2), Residual(12, 12))
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class DenseNet(nn.Module):
    """Each layer reads all before it; a norm follows each concatenation."""

    def __init__(self, growth: int = 6, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        sizes = [8 + growth * i for i in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in sizes)
        self.convs = nn.ModuleList(nn.Conv2d(n, growth, 3, padding=1) for n in sizes)
        self.last = nn.BatchNorm2d(8 + growth * layers)
        self.head = nn.Linear(8 + growth * layers, 4)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            found.append(conv(torch.sigmoid(norm(torch.cat(found, 1)))))
        return self.head(F.relu(self.last(torch.cat(found, 1))).mean((-2, -1)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(8, 10, 3, padding=1)
        self.up = nn.ConvTranspose2d(10, 8, 2, stride=2)
        self.join = nn.Conv2d(14, 6, 3, padding=1)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down1(x))
        deep = F.leaky_relu(self.middle(F.relu(self.down2(skip))))
        return self.out(F.silu(self.join(torch.cat([skip, self.up(deep)], 1))))


class SqueezeExcite(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(size, 4, 1), nn.Conv2d(4, size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.expand, self.bn = nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.se = SqueezeExcite(16)
        self.project = nn.Conv2d(16, 8, 1)
        self.multiplier = nn.Conv2d(8, 24, 3, groups=8)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        x = x + self.project(self.se(F.relu6(self.depthwise(self.bn(self.expand(x))))))
        return self.head(F.adaptive_avg_pool2d(self.multiplier(x), 1).flatten(1))


class ShuffleNet(nn.Module):
    """Grouped convolutions with shuffled channels between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 1)
        self.first = nn.Conv2d(24, 24, 1, groups=4)
        self.second = nn.Conv2d(24, 36, 3, padding=1, groups=3)
        self.head = nn.Linear(36 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(F.relu(self.stem(x)))
        batch, channels, height, width = x.shape
        x = x.view(batch, 4, channels // 4, height, width).transpose(1, 2).reshape(x.shape)
        return self.head(F.adaptive_max_pool2d(F.relu(self.second(x)), 4).flatten(1))


class Attention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.bias_table = nn.Parameter(torch.randn(7, heads))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, size = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, size // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        distance = torch.arange(tokens)[:, None] - torch.arange(tokens) + 3
        bias = self.bias_table[distance.clamp(0, 6)].permute(2, 0, 1).unsqueeze(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, size))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 12))
        self.position = nn.Parameter(torch.randn(1, 5, 12))
        self.norm1, self.attention = nn.LayerNorm(12), Attention(12, 3)
        self.norm2 = nn.LayerNorm(12)
        self.mlp = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12))
        self.scale = nn.Parameter(torch.randn(12))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = x + self.attention(self.norm1(x))
        x = x + self.scale * self.mlp(self.norm2(x))
        return self.head(x[:, 0])


class RotaryAttention(nn.Module):
    """Separate projections, fewer key than query heads, positions by rotation of halves, scale by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(10, 4 * 6), nn.Linear(10, 2 * 6), nn.Linear(10, 2 * 4)
        self.proj = nn.Linear(16, 10)
        self.register_buffer("angles", torch.randn(5, 3))

    def rotate(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, -1)
        cos, sin = torch.cat([self.angles] * 2, -1).cos(), torch.cat([self.angles] * 2, -1).sin()
        return x * cos + torch.cat([-two, one], -1) * sin

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q = self.q(x).view(batch, tokens, 2, 2, 6).permute(0, 2, 3, 1, 4)
        k = self.k(x).view(batch, tokens, 2, 1, 6).permute(0, 2, 3, 1, 4)
        v = self.v(x).view(batch, tokens, 2, 1, 4).permute(0, 2, 3, 1, 4)
        weights = (self.rotate(q) @ self.rotate(k).transpose(-2, -1) * 6**-0.5).softmax(-1)
        return self.proj((weights @ v).permute(0, 3, 1, 2, 4).flatten(2))


class EinsumMixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(5, 12), nn.Linear(12, 3)
        self.mix = nn.Parameter(torch.randn(4, 3, 3))
        self.gate = nn.Linear(12, 24)
        self.norm = nn.RMSNorm(12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).unflatten(-1, (4, 3))
        y = torch.einsum("bthi,hij->bthj", y, self.mix).flatten(-2)
        return self.out(self.norm(y + F.glu(self.gate(y), -1)))


class Res2Net(nn.Module):
    """A split into widths that go different ways and are joined again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv1d(3, 12, 1), nn.BatchNorm1d(12)
        self.convs = nn.ModuleList(nn.Conv1d(4, 4, 3, padding=1) for _ in range(2))
        self.slope = nn.PReLU(12)
        self.out = nn.Conv1d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.bn(self.stem(x)).split(4, 1)
        second = self.convs[0](second)
        third = self.convs[1](second + third)
        return self.out(self.slope(torch.cat([first, second, third], 1)))


class PaddedShortcut(nn.Module):
    """More channels after the block: the shortcut is filled up with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 10, 3, padding=1)
        self.norm = nn.GroupNorm(5, 10)
        self.up = nn.Conv2d(10, 12, 1)
        self.out = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.norm(self.conv(x)) + F.pad(x, (0, 0, 0, 0, 1, 3))
        return self.out(F.interpolate(F.pixel_shuffle(F.elu(self.up(x)), 2), scale_factor=0.5))


class LanguageModel(nn.Module):
    """Tied embedding, recurrent layers, a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(12, 8, batch_first=True)
        self.shared = nn.Linear(8, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.lstm(self.embedding(tokens))
        x, _ = self.gru(x)
        return self.head(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


class CellLoop(nn.Module):
    """A recurrence written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.recur = nn.Linear(4, 7), nn.Linear(7, 7, bias=False)
        self.decay = nn.Parameter(torch.rand(7))
        self.register_buffer("start", torch.zeros(7))
        self.out = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = self.start.expand(x.shape[0], -1)
        states = []
        for step in x.unbind(1):
            state = self.decay * state + torch.relu(self.read(step) + self.recur(state))
            states.append(state)
        return self.out(torch.stack(states, 1))


class GraphNet(nn.Module):
    """Messages meet at the nodes that edges point to: sums, attention, the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 12, bias=False)
        self.attend = nn.Parameter(torch.randn(3, 4))
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        source, target = edges
        x = self.first(x)
        x = F.relu(x + torch.zeros_like(x).index_add(0, target, x[source]))
        heads = self.second(x).view(-1, 3, 4)
        score = F.leaky_relu((heads * self.attend).sum(-1))
        score = torch.exp(score[source] + score[target])
        at = target[:, None].expand(-1, 3)
        total = x.new_zeros(x.size(0), 3).scatter_add(0, at, score)
        weighed = heads[source] * (score / (total[target] + 1e-6))[..., None]
        summed = x.new_zeros(x.size(0), 3, 4).index_add_(0, target, weighed).flatten(1)
        largest = torch.zeros_like(summed).scatter_reduce(
            0, target[:, None].expand(-1, 12), weighed.flatten(1), "amax", include_self=False
        )
        return self.out(F.elu(summed) + largest)


class Recommender(nn.Module):
    """Bags of embeddings, a bilinear layer, distances to learnt points."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.left = nn.EmbeddingBag(20, 8, mode="sum"), nn.Linear(4, 6)
        self.pair, self.both = nn.Bilinear(8, 6, 10), nn.Linear(10, 5)
        self.points = nn.Parameter(torch.randn(4, 5))

    def forward(self, items: Tensor, x: Tensor) -> Tensor:
        y = F.relu(self.pair(self.bag(items), torch.relu(self.left(x))))
        return torch.cdist(self.both(y), self.points)


class StandardisedConv(nn.Conv2d):
    """Weights normalised over the fan-in before the convolution."""

    def __init__(self, *args: int, form: str = "plain", **more: int) -> None:
        super().__init__(*args, **more)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        if self.form == "plain":
            mean, var = w.mean((1, 2, 3), keepdim=True), w.var((1, 2, 3), keepdim=True)
            w = self.gain * (w - mean) * torch.rsqrt(var + 1e-4)
        elif self.form == "layer_norm":
            w = F.layer_norm(w, w.shape[1:]) * self.gain
        else:
            flat = w.reshape(1, self.out_channels, -1)
            w = F.batch_norm(flat, None, None, self.gain.view(-1), training=True).reshape_as(w)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


def standardised() -> nn.Module:
    return nn.Sequential(
        StandardisedConv(3, 8, 3), nn.ReLU(),
        StandardisedConv(8, 8, 3, groups=8, form="layer_norm"), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU(),
        StandardisedConv(6, 10, 1, form="batch_norm"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(10, 3),
    )  # fmt: skip


class Spectral(nn.Module):
    """Products of Fourier coefficients, beside a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.local, self.out = nn.Linear(1, 6), nn.Conv1d(6, 6, 1), nn.Linear(6, 1)
        self.weight = nn.Parameter(torch.randn(6, 6, 5, dtype=torch.complex128))

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x).transpose(1, 2)
        found = torch.fft.rfft(x)
        mixed = torch.zeros(x.shape[0], 6, found.shape[-1], dtype=found.dtype)
        mixed[:, :, :5] = torch.einsum("bix,iox->box", found[:, :, :5], self.weight)
        x = F.gelu(torch.fft.irfft(mixed, n=x.shape[-1]) + self.local(x))
        return self.out(x.transpose(1, 2))


def mlp() -> nn.Module:
    first = parametrizations.weight_norm(nn.Linear(6, 10))
    return nn.Sequential(first, nn.ReLU(), nn.Linear(10, 8), nn.Sigmoid(), nn.Linear(8, 3))


def encoder_layer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(12, 3, 16, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.Linear(5, 12), layer, nn.Linear(12, 2))


def _image(size: int = 8) -> tuple[Tensor, ...]:
    return (torch.randn(2, 3, size, size),)


CASES: dict[str, Callable[[], Case]] = {
    "cells": lambda: (CellLoop(), (torch.randn(2, 5, 4),)),
    "densenet": lambda: (DenseNet(), _image()),
    "einsum": lambda: (EinsumMixer(), (torch.randn(2, 4, 5),)),
    "encoder_layer": lambda: (encoder_layer(), (torch.randn(2, 4, 5),)),
    "graph_net": lambda: (GraphNet(), (torch.randn(6, 5), torch.randint(6, (2, 9)))),
    "language_model": lambda: (LanguageModel(), (torch.randint(11, (2, 4)),)),
    "mlp": lambda: (mlp(), (torch.randn(3, 6),)),
    "mobilenet": lambda: (MobileNet(), _image()),
    "padded_shortcut": lambda: (PaddedShortcut(), _image()),
    "recommender": lambda: (Recommender(), (torch.randint(20, (3, 5)), torch.randn(3, 4))),
    "res2net": lambda: (Res2Net(), (torch.randn(2, 3, 9),)),
    "resnet": lambda: (ResNet(), _image()),
    "rotary": lambda: (RotaryAttention(), (torch.randn(2, 5, 10),)),
    "shufflenet": lambda: (ShuffleNet(), _image(4)),
    "spectral": lambda: (Spectral(), (torch.randn(2, 12, 1),)),
    "standardised": lambda: (standardised(), _image()),
    "transformer": lambda: (Transformer(), _image()),
    "unet": lambda: (UNet(), _image()),
}


def case(name: str, seed: int = 0) -> Case:
    """Return a model in evaluation mode and float64, with statistics and gains drawn, and inputs."""
    torch.manual_seed(seed)
    model, inputs = CASES[name]()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.3, 1)
    doubled = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    return model.double().eval(), doubled
