"""Small attention models in the ways people write them."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Self-attention of 2 heads of 4 channels, by hand."""

    def __init__(self, *, fused=True, fast=False, rotary=False, query_norm=False, shared=False, heads=2):
        super().__init__()
        self.fused, self.fast, self.rotary, self.shared, self.heads = fused, fast, rotary, shared, heads
        if fused:
            self.qkv = nn.Linear(8, 24)
        else:
            narrow = 8 // heads if shared else 8
            self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, narrow), nn.Linear(8, narrow, bias=False)
        if query_norm:
            self.q_norm, self.k_norm = nn.RMSNorm(8 // heads), nn.RMSNorm(8 // heads)
        self.query_norm = query_norm
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        batch, tokens, channels = x.shape
        size = channels // self.heads
        if self.fused:
            q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (
                layer(x).view(batch, tokens, -1, size).transpose(1, 2) for layer in (self.q, self.k, self.v)
            )
        if self.query_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rotary:
            q, k = rotated(q), rotated(k)
        if self.fast:
            y = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.shared)
        else:
            y = (q @ k.transpose(-2, -1) * size**-0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, tokens, channels))


def rotated(x):
    """Rotary position embedding."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 0.5 ** torch.arange(half)
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Multihead(nn.Module):
    """torch's own layer."""

    def __init__(self, **options):
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x):
        return self.layer(x, x, x)[0]


class Cross(nn.Module):
    """torch's own layer, reading two tensors of other widths."""

    def __init__(self):
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=7)

    def forward(self, x):
        return self.layer(x, x[..., :6], x[..., :7], need_weights=False)[0]


class GatedMlp(nn.Module):
    """SwiGLU."""

    def __init__(self):
        super().__init__()
        self.gate, self.up = nn.Linear(8, 12, bias=False), nn.Linear(8, 12)
        self.down = nn.Linear(12, 8, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Attention and an MLP on a residual stream, norms first."""

    def __init__(self, norm, mlp=None, layer_scale=False, **options):
        super().__init__()
        self.norm1, self.norm2 = norm(8), norm(8)
        self.attention = Attention(**options)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) if mlp is None else mlp()
        self.gamma = nn.Parameter(torch.rand(8) + 0.5) if layer_scale else 1.0

    def forward(self, x):
        x = x + self.gamma * self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class LanguageModel(nn.Module):
    """Embeddings, positions, blocks, a norm, a head."""

    def __init__(self, norm, *, tied=False, blocks=2, **options):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.blocks = nn.ModuleList(Block(norm, **options) for _ in range(blocks))
        self.norm, self.head = norm(8), nn.Linear(8, 11, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class VisionModel(nn.Module):
    """Patches, a class token, positions, blocks, a head on the class token or on the mean."""

    def __init__(self, norm, pool="token"):
        super().__init__()
        self.patches, self.pool = nn.Conv2d(3, 8, 4, 4), pool
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.blocks = nn.Sequential(Block(norm), Block(norm, layer_scale=True))
        self.norm, self.head = norm(8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        x = self.norm(self.blocks(x + self.position))
        return self.head(x[:, 0] if self.pool == "token" else x.mean(1))
