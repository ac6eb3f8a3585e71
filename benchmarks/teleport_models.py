"""How far outputs move when models are teleported, how many factors are free, and what finding them costs.

    python benchmarks/teleport_models.py                           # the models of snnkit.experiments
    python benchmarks/teleport_models.py --names ViT ResNet50
    python benchmarks/teleport_models.py --timm --out found.jsonl  # timm, one model per architecture file
    python benchmarks/teleport_models.py --report found.jsonl

Weights, gains, offsets and statistics are drawn, so that nothing is 0 or 1 by initialisation. Every model is
teleported by factors (inter_landscape, 0.9), signs and permutations in float64 and in float32, and by powers
of two alone with batch_norm="fixed", which must not move a bit. Errors are the largest difference of the
outputs over the largest output. Times are CPU seconds of one thread: finding the symmetries (recording
included), and drawing and applying one element. How timm is installed without torchvision is said in
timm_models.py.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.experiments.models import build_model
from snnkit.teleport import Element, random, symmetries, teleport

NAMES = ("MLP", "VGG16", "VGG16_bn", "ResNet18", "ResNet50", "ResNeXt50", "WideResNet", "DenseNet121", "UNet",
         "ViT", "MobileNet")  # fmt: skip
_LARGEST = 32_000_000
_WIDEST = 288


@dataclass(frozen=True)
class Row:
    """What was measured of one model."""

    name: str
    parameters: int
    scales: int
    signs: int
    orders: int
    float64: float
    float32: float
    inverse: float
    bits: bool
    analysis: float
    applying: float
    barriers: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="*", help="only these models")
    parser.add_argument("--timm", action="store_true", help="models of timm, one per architecture file")
    parser.add_argument("--index", type=Path, default=Path("timm_index.json"), help="list of timm's models")
    parser.add_argument("--out", type=Path, help="one line of JSON per model; models in it are not run again")
    parser.add_argument("--report", type=Path, help="print the table of an earlier run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.report:
        rows = [json.loads(line) for line in options.report.read_text().splitlines()]
        report([Row(**row) for row in rows if "failure" not in row])
        print(*(f"failed: {row['name']}: {row['failure']}" for row in rows if "failure" in row), sep="\n")
        return
    if options.timm:
        sweep(options)
        return
    symmetries(nn.Linear(2, 2), torch.randn(1, 2))  # imports, which would count as the first model's
    report([measured(name, *_own(name)) for name in options.names or NAMES])


def _own(name: str) -> tuple[nn.Module, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 64, 64) if name == "UNet" else (3, 32, 32)
    model = build_model(name, shape, 10, generator=generator).eval()
    return model, torch.randn(2, *shape, generator=generator)


def sweep(options: argparse.Namespace) -> None:
    """Measure models of timm and write what was found as it comes."""
    from timm_models import create, example_input, index, one_per_file

    chosen = index(options.index)
    known = {model.name: model for model in chosen}
    chosen = [known[name] for name in options.names] if options.names else one_per_file(chosen)
    chosen = [m for m in chosen if m.parameters <= _LARGEST and m.size <= _WIDEST]
    done = set()
    if options.out and options.out.exists():
        done = {json.loads(line)["name"] for line in options.out.read_text().splitlines()}
    rows = []
    for entry in chosen:
        if entry.name in done:
            continue
        try:
            model = create(entry.name, device="cpu")
            row: dict[str, Any] = asdict(
                measured(entry.name, model, torch.randn(*example_input(model, 1).shape))
            )
            rows.append(Row(**row))
        except Exception as failure:
            row = {"name": entry.name, "failure": f"{type(failure).__name__}: {failure}"[:300]}
        print(row, flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    report(rows)


def drawn(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Draw gains, offsets and statistics, which are 1 and 0 otherwise."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim <= 1 and parameter.is_floating_point():
                parameter.copy_(1 + 0.3 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


def measured(name: str, model: nn.Module, x: Tensor) -> Row:
    """Teleport a model in both precisions and return what was found."""
    generator = torch.Generator().manual_seed(1)
    drawn(model, generator)
    count = sum(p.numel() for p in model.parameters())
    start = time.process_time()
    found = symmetries(model, x)
    analysis = time.process_time() - start
    exact = random(symmetries(model, x, batch_norm="fixed"), 3, "powers_of_two", generator=generator)
    bits = moved(model, x, exact) == 0.0
    teleport(model, exact.inverse())
    start = time.process_time()
    single = moved(model, x, random(found, 0.9, "inter_landscape", generator=generator, permutations=True))
    applying = time.process_time() - start
    model, x = model.double(), x.double()
    element = random(found, 0.9, "inter_landscape", generator=generator, permutations=True)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    double = moved(model, x, element)
    teleport(model, element.inverse())
    inverse = max(
        float((value - weights[key]).abs().max() / weights[key].abs().max().clamp(min=1e-300))
        for key, value in model.state_dict().items()
        if value.is_floating_point() and value.numel()
    )
    barriers = tuple(found.barriers)
    sizes = (found.n_scales, found.n_signs, len(found.permutations))
    return Row(name, count, *sizes, double, single, inverse, bits, analysis, applying, barriers)


def moved(model: nn.Module, x: Tensor, element: Element) -> float:
    """Teleport a model and return how far its outputs moved."""
    with torch.no_grad():
        before = _tensors(model(x))
        teleport(model, element)
        after = _tensors(model(x))
    return max(float((b - a).abs().max() / a.abs().max()) for a, b in zip(before, after, strict=True))


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for value in values for tensor in _tensors(value)]


def report(rows: Iterable[Row]) -> None:
    """Print a table for the page on teleportation."""
    rows = list(rows)
    print(
        "| model | parameters | scales | signs | orders | float64 | float32 | inverse | powers of two | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        bits = "same bits" if r.bits else "differ"
        sizes = f"{r.parameters / 1e6:.2f} M | {r.scales} | {r.signs} | {r.orders}"
        errors = f"{r.float64:.1e} | {r.float32:.1e} | {r.inverse:.1e} | {bits}"
        print(f"| {r.name} | {sizes} | {errors} | {r.analysis:.2f} |")
    if not rows:
        return
    single, seconds = [r.float32 for r in rows], [r.analysis for r in rows]
    print(f"\n{len(rows)} models, {sum(r.scales > 0 for r in rows)} of them with free scales")
    print(f"float64: at most {max(r.float64 for r in rows):.1e}")
    print(f"float32: median {median(single):.1e}, at most {max(single):.1e}")
    print(f"powers of two: the same bits in {sum(r.bits for r in rows)}")
    print(f"analysis: median {median(seconds):.2f} s, at most {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
