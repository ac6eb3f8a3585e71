"""Memory and time of fully connected layers by density and format, and whether they compute the same."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from snnkit.experiments.experiment import Context, Experiment, seed_of
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.settings import BatchSizes, DataName, Densities, ModelName
from snnkit.experiments.sparsity.networks import Network, network
from snnkit.experiments.sparsity.weight_files import load_weights
from snnkit.recipes.schema import Limits
from snnkit.sparse import convert_model
from snnkit.sparse.memory import memory
from snnkit.sparse.pruning import prune_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

FORMATS = ("coo", "csr")
_POINTER = 4  # bytes of a row pointer of CSR


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        model: A name of a model; its fully connected layers are pruned and converted.
        hidden: Their sizes; the default are those of VGG11_bn in the original.
        data: Whose images give the model its shape.
        small: The narrow model.
        weights: The user's file of trained weights; empty for random ones, which take the same memory.
        densities: Shares of the weights that stay.
        batches: Batch sizes of the forward passes.
        repeats: Passes, in turns; the shortest counts.
    """

    model: ModelName = "VGG11_bn"
    hidden: tuple[int, ...] = (4096, 4096)
    data: DataName = "digits"
    small: bool = False
    weights: str = ""
    densities: Densities = (
        1.0,
        0.5,
        0.2,
        0.1,
        0.05,
        0.01,
    )
    batches: BatchSizes = (1, 32)
    repeats: Annotated[int, Limits(low=1)] = 7


def run(settings: Settings, context: Context) -> Findings:
    """Convert the layers at every density, and measure."""
    split = context.images(settings.data)
    net = Network(settings.model, settings.data, settings.small, settings.hidden)
    model = network(net, split, seed_of(context.seed, "memory"))
    if settings.weights:
        load_weights(model, settings.weights)
    found = _linear(model)
    layers = nn.Sequential(*found).eval()
    generator = context.generator("inputs")
    width = found[0].in_features
    inputs = {n: torch.randn(n, width, generator=generator) for n in settings.batches}
    context.progress.start("densities", len(settings.densities))
    results: list[dict[str, Any]] = []
    for done, density in enumerate(sorted(settings.densities, reverse=True), 1):
        if density < 1:
            prune_weights(layers, 1 - density, allocation="local")
        results += _measured(layers, density, inputs, settings)
        context.progress.advance(done, f"density {density:g}")
    context.progress.finish()
    return Findings(
        _reading(results, settings),
        to_plain({"results": results}),
        _tables(results, settings),
        _checks(results),
    )


def _linear(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@torch.no_grad()
def _measured(
    layers: nn.Sequential, density: float, inputs: dict[int, Tensor], settings: Settings
) -> list[dict[str, Any]]:
    forms: dict[str, nn.Module] = {"dense": layers}
    for name in FORMATS:
        twin = nn.Sequential(*layers)
        forms[name] = convert_model(twin, nn.Linear, name).eval()
    answers = {name: [form(x) for x in inputs.values()] for name, form in forms.items()}
    times = _times(forms, inputs, settings.repeats)
    kept = sum(int((layer.weight != 0).sum()) for layer in _linear(layers))
    found = []
    for name, form in forms.items():
        pairs = zip(answers[name], answers["dense"], strict=True)
        found.append(
            {
                "density": density,
                "format": name,
                "kept": kept,
                "rows": sum(layer.out_features for layer in _linear(layers)),
                "layers": len(layers),
                "bytes": memory(form).total,
                "milliseconds": times[name],
                "difference": max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs),
            }
        )
    return found


def _times(
    forms: dict[str, nn.Module], inputs: dict[int, Tensor], repeats: int
) -> dict[str, dict[str, float]]:
    """Return the shortest CPU time of each form's forward pass in milliseconds, by batch size."""
    best: dict[str, dict[str, float]] = {name: {str(n): float("inf") for n in inputs} for name in forms}
    for _ in range(repeats):
        for name, form in forms.items():
            for n, x in inputs.items():
                started = time.process_time()
                form(x)
                best[name][str(n)] = min(best[name][str(n)], 1e3 * (time.process_time() - started))
    return best


def _tables(results: Sequence[Any], settings: Settings) -> tuple[Table, ...]:
    forms = ("dense", *FORMATS)
    sizes, times = [], []
    for density in dict.fromkeys(r["density"] for r in results):
        of = {r["format"]: r for r in results if r["density"] == density}
        sizes.append((density, *(round(of[name]["bytes"] / 2**20, 2) for name in forms)))
        times.append(
            (
                density,
                *(round(of[name]["milliseconds"][str(n)], 2) for n in settings.batches for name in forms),
            )
        )
    columns = tuple(f"{name}, batch {n}" for n in settings.batches for name in forms)
    return (
        Table("MiB of the fully connected layers", ("density", *forms), tuple(sizes)),
        Table("CPU ms of a forward pass through them", ("density", *columns), tuple(times)),
    )


def _checks(results: Sequence[Any]) -> tuple[Check, ...]:
    csr = [r for r in results if r["format"] == "csr"]
    worst = max(abs(r["bytes"] - _csr_bytes(r)) for r in csr)
    return (
        Check(
            "converted layers against dense ones, largest relative difference",
            max(r["difference"] for r in results),
            1e-5,
            relation="at most",
            law="the same sums in another order",
        ),
        Check(
            "bytes of CSR",
            worst,
            0.0,
            law="8 for each weight (value, index), 4 for each row and one more, 4 for each bias",
        ),
    )


def _csr_bytes(result: Any) -> int:
    return 8 * result["kept"] + _POINTER * (result["rows"] + result["layers"]) + 4 * result["rows"]


def _reading(results: Sequence[Any], settings: Settings) -> str:
    dense = {r["density"]: r for r in results if r["format"] == "dense"}
    smaller = {}
    faster: dict[tuple[str, int], list[float]] = {}
    for name in FORMATS:
        of = [r for r in results if r["format"] == name]
        smaller[name] = [r["density"] for r in of if r["bytes"] < dense[r["density"]]["bytes"]]
        for n in settings.batches:
            faster[name, n] = [
                r["density"]
                for r in of
                if r["milliseconds"][str(n)] < dense[r["density"]]["milliseconds"][str(n)]
            ]

    def from_density(found: Sequence[float]) -> str:
        return f"from density {max(found):g} down" if found else "at none of these densities"

    sizes = "; ".join(f"{name} {from_density(found)}" for name, found in smaller.items())
    times = "; ".join(f"{name} at batch {n} {from_density(found)}" for (name, n), found in faster.items())
    return (
        f"Smaller than dense: {sizes}. Faster than dense, on this machine and one thread: {times}. "
        "Bytes are those of all storages; the dense layers keep their size at any sparsity. "
        "Times are the shortest CPU times of a few passes and depend on the machine; bytes do not."
    )


def draw(findings: Findings) -> "dict[str, Figure]":
    """Draw bytes and time over density."""
    from snnkit.experiments.training.figures import lines, panels

    results = findings.data["results"]
    forms = ["dense", *FORMATS]
    batches = list(results[0]["milliseconds"])
    figure, places = panels(1 + len(batches), forms)

    def series(value: Any) -> dict[str, tuple[list[float], list[float], list[float]]]:
        of = {name: [r for r in results if r["format"] == name] for name in forms}
        return {
            name: ([r["density"] for r in rs], [value(r) for r in rs], [0.0] * len(rs))
            for name, rs in of.items()
        }

    lines(places[0], series(lambda r: r["bytes"] / 2**20), forms, markers=True)
    places[0].set(title="memory", xlabel="density", ylabel="MiB", xscale="log", yscale="log")
    for axes, n in zip(places[1:], batches, strict=True):
        lines(axes, series(lambda r, n=n: r["milliseconds"][n]), forms, markers=True)
        axes.set(
            title=f"forward pass, batch {n}", xlabel="density", ylabel="CPU ms", xscale="log", yscale="log"
        )
    return {"memory": figure}


EXPERIMENT = Experiment(
    name="sparse-memory",
    title="Memory and time of fully connected layers by density and format (ActuallySparse's memory tables)",
    quick=Settings(),
    full=Settings(
        data="cifar10",
        densities=(1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01),
        batches=(1, 32, 128),
        repeats=25,
    ),
    run=run,
    draw=draw,
)
