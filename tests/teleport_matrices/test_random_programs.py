"""Whatever a network does, matrices at the sites that are found leave its outputs as they are."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport.matrices import fold_gains, matrix_sites, random_matrices

STEPS = [
    "linear", "linear", "residual", "residual", "branch", "gelu", "rms", "layer", "attention", "two heads",
    "mean added", "swap halves", "roll", "flip", "first half scaled", "gain", "uniform gain", "scalar",
    "position", "normalised", "own scores", "halves added", "tokens mixed", "shared", "sum of channels",
    "masked", "in place", "flattened", "class token", "centred",
]  # fmt: skip


class Program(nn.Module):
    """Random steps on ``(batch, 4 tokens, 6 channels)``."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.first, self.last, self.shared = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 6)
        self.layers = nn.ModuleDict({str(i): self.layer(step) for i, step in enumerate(steps)})
        self.vectors = nn.ParameterList([torch.randn(6) for _ in steps])
        self.tables = nn.ParameterList([torch.randn(1, 4, 6) for _ in steps])

    @staticmethod
    def layer(step):
        makers = {
            "branch": lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 6, bias=False)),
            "rms": lambda: nn.RMSNorm(6),
            "layer": lambda: nn.LayerNorm(6),
            "attention": lambda: nn.Linear(6, 18),
            "two heads": lambda: nn.Linear(6, 18),
            "flattened": lambda: nn.Linear(24, 24),
        }
        return makers.get(step, lambda: nn.Linear(6, 6))()

    def forward(self, x):
        x = self.first(x)
        for i, step in enumerate(self.steps):
            x = self.step(step, x, self.layers[str(i)], self.vectors[i], self.tables[i])
        return self.last(x)

    def step(self, step, x, layer, vector, table):
        if step in ("linear", "rms", "layer"):
            return layer(x)
        if step in ("residual", "branch"):
            return x + layer(x) if step == "residual" else layer(x) + x
        if step in ("attention", "two heads"):
            heads = 2 if step == "two heads" else 1
            q, k, v = layer(x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            return x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.plain(step, x, layer, vector, table)

    def plain(self, step, x, layer, vector, table):
        half = x.shape[-1] // 2
        simple = {
            "gelu": lambda: F.gelu(x),
            "mean added": lambda: x + x.mean(1, keepdim=True),
            "swap halves": lambda: torch.cat([x[..., half:], x[..., :half]], -1),
            "roll": lambda: x.roll(1, -1),
            "flip": lambda: layer(x).flip(-1) + x,
            "first half scaled": lambda: torch.cat([2 * x[..., :half], x[..., half:]], -1),
            "gain": lambda: x * vector,
            "uniform gain": lambda: x * torch.ones_like(vector) * 0.5,
            "scalar": lambda: 1.0 - x / 3,
            "position": lambda: table + x,
            "normalised": lambda: F.normalize(x, dim=-1),
            "own scores": lambda: (x @ x.transpose(1, 2)).softmax(-1) @ layer(x),
            "halves added": lambda: layer(x) + torch.cat([x[..., :half], x[..., :half]], -1),
            "tokens mixed": lambda: torch.einsum("nm,bmc->bnc", table[0] @ table[0].T, x),
            "shared": lambda: self.shared(self.shared(x)) + x,
            "sum of channels": lambda: x + x.sum(-1, keepdim=True),
            "masked": lambda: x.masked_fill(torch.arange(4)[:, None] > 2, 0.0),
            "in place": lambda: layer(x).add_(x).mul_(0.5),
            "flattened": lambda: layer(x.flatten(1)).reshape(x.shape),
            "class token": lambda: torch.cat([table[:, :1].expand(len(x), -1, -1), x[:, 1:]], 1),
            "centred": lambda: x - x.mean(-1, keepdim=True),
        }
        return simple[step]()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7), fold=st.booleans())
def test_outputs_stay(steps, fold):
    torch.manual_seed(0)
    model = Program(steps).double().eval()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.RMSNorm | nn.LayerNorm)):
            norm.weight.uniform_(0.5, 1.5)
        before = model(x)
        if fold:
            fold_gains(model, x)
        sites = matrix_sites(model, x)
        tensors = named_tensors(model)
        part = random_matrices(sites, condition=2.0, generator=torch.Generator().manual_seed(1))
        for name, value in part.apply(tensors).items():
            tensors[name].copy_(value)
        assert float((model(x) - before).norm() / before.norm()) <= 1e-11
