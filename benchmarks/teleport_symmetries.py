"""Matrix symmetries and equalisation, as tables.

    python benchmarks/teleport_symmetries.py matrices [--condition 4]
    python benchmarks/teleport_symmetries.py equalisation [--seeds 5]
    python benchmarks/teleport_symmetries.py timm MODEL [MODEL ...]

``matrices`` draws a matrix for every site of some models and shows the relative change of the output.
``equalisation`` trains an MLP on scikit-learn's digits, quantises its weights with one step for each tensor,
and shows the test accuracy: as trained, equalised, teleported by random factors of up to 30, and equalised
after that. ``timm`` folds the gains of models of timm, with random weights, and turns all their sites;
``timm_models.py`` says how timm is installed."""

import argparse
import copy
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport import symmetries, teleport
from snnkit.teleport.equalisation import equalize
from snnkit.teleport.matrices import fold_gains, matrix_sites, random_matrices

# --- Matrices ---------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention of 6 heads; keys and values are shared by ``share`` heads each."""

    def __init__(self, width: int = 192, heads: int = 6, share: int = 1, rotary: bool = False) -> None:
        super().__init__()
        self.size, self.share, self.rotary = width // heads, share, rotary
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width // share)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, tokens, width)`` to the same shape."""
        q = self.q(x).unflatten(-1, (-1, self.size)).transpose(1, 2)
        k, v = self.kv(x).unflatten(-1, (2, -1, self.size)).permute(2, 0, 3, 1, 4)
        if self.rotary:
            q, k = rotated(q), rotated(k)
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.share > 1)
        return self.out(y.transpose(1, 2).flatten(2))


def rotated(x: Tensor) -> Tensor:
    """Return rotary position embeddings of ``(batch, heads, tokens, channels)``."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 1e4 ** (-torch.arange(half) / half)
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Multihead(nn.Module):
    """torch's own layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(192, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x`` itself."""
        return self.layer(x, x, x)[0]


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, 512, bias=False), nn.Linear(width, 512, bias=False)
        self.down = nn.Linear(512, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Stream(nn.Module):
    """Four blocks on a residual stream, norms first."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 192), nn.Linear(192, 10)
        self.attentions = nn.ModuleList(Attention() for _ in range(4))
        self.mlps = nn.ModuleList(Gated() for _ in range(4))
        self.norms = nn.ModuleList(norm(192) for _ in range(9))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, tokens, 64)`` to classes for each token."""
        x = self.first(x)
        for i in range(4):
            x = x + self.attentions[i](self.norms[2 * i](x))
            x = x + self.mlps[i](self.norms[2 * i + 1](x))
        return self.last(self.norms[8](x))


def turned(model: nn.Module, x: Tensor, condition: float) -> tuple[Counter[str], float, float]:
    """Return the sites by kind and size, the seconds to find them, and the change of the output."""
    with torch.no_grad():
        before = model(x)
        start = time.process_time()
        sites = matrix_sites(model, x)
        seconds = time.process_time() - start
        part = random_matrices(sites, condition=condition, generator=torch.Generator().manual_seed(0))
        tensors = named_tensors(model)
        for name, value in part.apply(tensors).items():
            tensors[name].copy_(value)
        change = float((model(x) - before).norm() / before.norm())
    return Counter(f"{site.kind} {site.size}" for site in sites), seconds, change


def matrices(condition: float) -> None:
    """Print the table of matrix symmetries."""
    models: dict[str, Callable[[], nn.Module]] = {
        "attention": Attention,
        "attention, keys and values shared by 3 heads": lambda: Attention(share=3),
        "attention, rotary embeddings": lambda: Attention(rotary=True),
        "nn.MultiheadAttention": Multihead,
        "4 blocks under RMSNorm, gated MLPs": lambda: Stream(nn.RMSNorm),
        "4 blocks under LayerNorm, gated MLPs": lambda: Stream(nn.LayerNorm),
    }
    print("| model | sites | seconds | float64 | float32 |\n|---|---|---|---|---|")
    for name, make in models.items():
        changes = []
        for dtype in (torch.float64, torch.float32):
            torch.manual_seed(0)
            model = make().eval()
            for norm in getattr(model, "norms", []):
                nn.init.normal_(norm.weight, 1.0, 0.3)
            width = 64 if isinstance(model, Stream) else 192
            x = torch.randn(2, 24, width, dtype=dtype)
            model.to(dtype)
            fold_gains(model, x)
            sites, seconds, change = turned(model, x, condition)
            changes.append(f"{change:.0e}")
        found = ", ".join(f"{count} x {kind}" for kind, count in sites.items())
        print(f"| {name} | {found} | {seconds:.2f} | {' | '.join(changes)} |")


def timm(names: Sequence[str], condition: float) -> None:
    """Print the table of timm's models."""
    from timm_models import create, example_input

    print("| model | gains folded | change | sites | seconds | change |\n|---|---|---|---|---|---|")
    for name in names:
        torch.manual_seed(0)
        model = create(name, "cpu").double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        x = example_input(model, 1, "cpu").double()
        with torch.no_grad():
            before = model(x)
            folding = fold_gains(model, x)
            change = float((model(x) - before).norm() / before.norm())
        sites, seconds, error = turned(model, x, condition)
        found = ", ".join(f"{count} x {kind}" for kind, count in sites.items())
        gains = f"{len(folding.folded)} of {len(folding.folded) + len(folding.left)}"
        print(f"| {name} | {gains} | {change:.0e} | {found} | {seconds:.1f} | {error:.0e} |", flush=True)


# --- Equalisation -----------------------------------------------------------------------------------


def trained(seed: int) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return an MLP trained on digits, the training images, and test images and labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, labels, test_size=450, random_state=0, stratify=labels)
    x, x_test = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    y, y_test = (torch.tensor(part) for part in parts[2:])
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model, x, x_test, y_test


def accuracy(model: nn.Module, x: Tensor, y: Tensor, bits: int | None) -> float:
    """Return the accuracy in percent with weights of ``bits`` bits and one step per tensor."""
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        if bits is not None:
            for weight in (p for p in rounded.parameters() if p.dim() > 1):
                step = weight.abs().max() / (2 ** (bits - 1) - 1)
                weight.copy_((weight / step).round() * step)
        return 100 * float((rounded(x).argmax(1) == y).float().mean())


def teleported(model: nn.Module, x: Tensor, seed: int) -> nn.Module:
    """Return a copy whose channels have factors between 1/30 and 30, their logarithms uniform."""
    result = copy.deepcopy(model)
    found = symmetries(model, x)
    generator = torch.Generator().manual_seed(seed)
    uniform = 2 * torch.rand(found.n_scales, dtype=torch.float64, generator=generator) - 1
    teleport(result, found.element(30.0**uniform))
    return result


def equalisation(seeds: int) -> None:
    """Print the table of accuracies, means over seeds."""
    widths = (None, 8, 4, 3)
    rows: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        model, x, x_test, y_test = trained(seed)
        far = teleported(model, x[:1], seed)
        nets = {"as trained": model, "equalised": copy.deepcopy(model)}
        nets |= {"teleported": far, "teleported, then equalised": copy.deepcopy(far)}
        for name, net in nets.items():
            if name.endswith("equalised"):
                equalize(net, x[:1])
            rows.setdefault(name, []).append([accuracy(net, x_test, y_test, bits) for bits in widths])
    print("| | float | 8 bits | 4 bits | 3 bits |\n|---|---|---|---|---|")
    for name, found in rows.items():
        means = [statistics.mean(column) for column in zip(*found, strict=True)]
        print(f"| {name} | {' | '.join(f'{mean:.1f}' for mean in means)} |")


def main() -> None:
    """Read the command line and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="table", required=True)
    for name in ("matrices", "timm"):
        command = commands.add_parser(name)
        command.add_argument("--condition", type=float, default=4.0)
        if name == "timm":
            command.add_argument("models", nargs="+")
    commands.add_parser("equalisation").add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    if given.table == "matrices":
        matrices(given.condition)
    elif given.table == "timm":
        timm(given.models, given.condition)
    else:
        equalisation(given.seeds)


if __name__ == "__main__":
    main()
