"""How much of timm's models can be pruned, and whether what is pruned is right.

    python benchmarks/timm_pruning.py --out coupling.jsonl                 # one model per architecture file
    python benchmarks/timm_pruning.py --all --out coupling.jsonl           # every model
    python benchmarks/timm_pruning.py --execute --out executed.jsonl       # prune at random, and compare
    python benchmarks/timm_pruning.py --report coupling.jsonl executed.jsonl

The coupling runs on the meta device. A multiply-accumulate counts as prunable if an axis that its operation
multiplies over consists of channels that can be dropped; as exactly prunable if dropping them equals setting
their weights to zero; as exactly prunable with weights folded if it does once weights that are computed from
parameters alone, such as standardised ones, are parameters (``Plan(fold_weights=True)``).

The executed check draws all weights and statistics, folds such weights, drops 40 % of every exact group at
random and compares with the masked model in float64; it takes the smallest model of each file, up to 32 M
parameters and 288 x 288 pixels. How timm is installed without torchvision is said in timm_models.py.
"""

import argparse
import json
import math
import signal
import time
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from timm_models import TimmModel, create, example_input, index, one_per_file
from torch import nn

from snnkit.dag import coupling
from snnkit.dag.analysis.axes import leaves
from snnkit.dag.channels import Coupling
from snnkit.dag.channels.computed import weight_computations
from snnkit.dag.pruning import Plan, prune
from snnkit.dag.pruning.folded import prepared

_LARGEST = 32_000_000
_WIDEST = 288
_SECONDS = 180


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every model, not one per file")
    parser.add_argument("--execute", action="store_true", help="prune and compare")
    parser.add_argument(
        "--index", type=Path, default=Path("timm_index.json"), help="where the list of models is kept"
    )
    parser.add_argument("--names", nargs="*", help="only these models")
    parser.add_argument("--out", type=Path, help="one line of JSON per model; models in it are not run again")
    parser.add_argument("--report", type=Path, nargs="*", help="print the tables of earlier runs")
    options = parser.parse_args()
    if options.report:
        report(options.report)
        return
    torch.set_num_threads(1)
    models = index(options.index)
    chosen = in_turns(models) if options.all or options.names else one_per_file(models)
    if options.execute:
        chosen = [m for m in chosen if m.parameters <= _LARGEST and m.size <= _WIDEST]
    if options.names:
        chosen = [model for model in models if model.name in options.names]
    run(chosen, executed if options.execute else analysed, options.out)


def in_turns(models: Iterable[TimmModel]) -> list[TimmModel]:
    """Return the smallest of each file, then the second, and so on: a run cut short is a fair sample."""
    by_file: dict[str, list[TimmModel]] = {}
    for model in models:
        by_file.setdefault(model.file, []).append(model)
    turns = [(turn, model) for names in by_file.values() for turn, model in enumerate(names)]
    return [model for _, model in sorted(turns, key=lambda entry: entry[0])]


def run(models: Iterable[TimmModel], measure: Any, out: Path | None) -> None:
    done = set()
    if out is not None and out.exists():
        done = {json.loads(line)["name"] for line in out.read_text().splitlines()}
    for model in models:
        if model.name in done:
            continue
        entry: dict[str, Any] = {"name": model.name, "file": model.file}
        try:
            with time_limit(_SECONDS):
                entry |= measure(model)
        except Exception as failure:  # a failure is a result
            entry["error"] = f"{type(failure).__name__}: {failure}"[:400]
        print(json.dumps(entry), flush=True)
        if out is not None:
            with out.open("a") as stream:
                stream.write(json.dumps(entry) + "\n")


@contextmanager
def time_limit(seconds: int) -> Any:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"over {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def analysed(model: TimmModel) -> dict[str, Any]:
    network = create(model.name)
    start = time.process_time()
    found = coupling(network, example_input(network))
    seconds = time.process_time() - start
    prunable, exact = shares(found)
    folded = (
        prepared(network, (example_input(network),), fold_weights=True)
        if weight_computations(found)
        else None
    )
    return {
        "prunable": prunable, "exact": exact, "groups": len(found.groups), "seconds": seconds,
        "exact_folded": shares(folded.coupling)[1] if folded else exact, "barriers": found.barriers,
        "folded": len(folded.folded) if folded else 0,
    }  # fmt: skip


def shares(found: Coupling) -> tuple[float, float]:
    """Return which share of the multiply-accumulates can be pruned, and can be pruned exactly."""
    groups = {group.atom: group for group in found.groups}
    total = prunable = exact = 0
    for cost in found.costs:
        macs = math.prod(axis.size for axis in cost.axes)
        own = [groups[atom] for axis in cost.axes for atom in leaves(axis) if atom in groups]
        total += macs
        prunable += macs * bool(own)
        exact += macs * any(group.exact for group in own)
    return prunable / total, exact / total


def executed(model: TimmModel) -> dict[str, Any]:
    network = create(model.name, device="cpu")
    draw_weights(network)
    plan = Plan(ratio=0.4, max_ratio=1.0, fold_weights=True)
    start = time.process_time()
    pruned = prune(network, example_input(network, device="cpu"), plan, "random")
    assert pruned.certificate is not None
    return {
        "error_of_outputs": pruned.certificate.error,
        "exact": pruned.certificate.exact,
        "folded": len(pruned.folded),
        "moved_by_folding": pruned.fold_difference,
        "parameters": pruned.after.parameters / pruned.before.parameters,
        "macs": pruned.after.macs / pruned.before.macs,
        "seconds": time.process_time() - start,
    }


def draw_weights(model: nn.Module) -> None:
    """Give all gains, offsets and statistics numbers of their own: many begin at 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        fan_in = max(1, parameter[0].numel() if parameter.ndim > 1 else 4)
        noise = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        parameter.data = noise if parameter.ndim > 1 else 0.5 + noise
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0, generator=generator)


def report(paths: list[Path]) -> None:
    for path in paths:
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        failed = [entry for entry in entries if "error" in entry]
        files = {entry["file"] for entry in entries}
        print(f"{path.name}: {len(entries)} models, {len(files)} files, {len(failed)} failed")
        good = [entry for entry in entries if "error" not in entry]
        if any("prunable" in entry for entry in good):
            for share in (0.25, 0.5, 0.75, 0.9, 0.99):
                kinds = ("prunable", "exact", "exact_folded")
                counts = [sum(entry.get(kind, entry["exact"]) >= share for entry in good) for kind in kinds]
                rates = [f"{count} ({count / len(entries):.1%})" for count in counts]
                print(
                    f"  at least {share:.0%} of the MACs: prunable {rates[0]}, exactly {rates[1]}, "
                    f"exactly with weights folded {rates[2]}"
                )
        else:
            right = [entry for entry in good if entry["exact"]]
            print(f"  equal to the masked model: {len(right)} of {len(entries)}")
            print(f"  largest relative difference: {max(entry['error_of_outputs'] for entry in good):.1e}")
        seconds = sorted(entry["seconds"] for entry in good)
        print(f"  CPU seconds: median {seconds[len(seconds) // 2]:.2f}, largest {seconds[-1]:.2f}")
        for entry in failed:
            print(f"    {entry['name']}: {entry['error']}")


if __name__ == "__main__":
    main()
