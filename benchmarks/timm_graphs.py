"""Capture the models of timm as graphs, and say how many, how exactly and how fast.

    python benchmarks/timm_graphs.py --json graphs.json             # one model of each architecture file
    python benchmarks/timm_graphs.py --all --json graphs.json       # all of them; goes on where it stopped

How timm is installed without torchvision is said in timm_models.py.

Each model is captured twice. On the meta device, which holds shapes but no numbers, for the time of the
capture less that of one forward; the runs with which it then compares graph and model are counted apart. And,
up to ``--max-parameters``, with random numbers in all parameters and buffers: there capture itself compares
the outputs of graph and model, on two batches, and accepts no difference in a single bit. Seconds are those
of one processor core.
"""

import argparse
import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from timm_models import TimmModel, create, example_input, index, one_per_file
from torch import nn

from snnkit.dag import DagModule, build_from_unstructured_module
from snnkit.dag.capture.verification import Reference

SECONDS = 180


class Checks:
    """The time that capture spends on running graph and model for comparison."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            self._depth += 1
            try:
                return method(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - start

        return call

    @contextmanager
    def watched(self) -> Iterator[None]:
        run, verify = Reference.run, Reference.verify
        Reference.run, Reference.verify = self.timed(run), self.timed(verify)  # type: ignore[method-assign]
        try:
            yield
        finally:
            Reference.run, Reference.verify = run, verify  # type: ignore[method-assign]


def fill(model: nn.Module) -> None:
    """Give all parameters and statistics random numbers: what is zero at first hides mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * (0.02 + 0.1 * parameter.abs().mean()))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def measure(entry: TimmModel, max_parameters: float) -> dict[str, Any]:
    """Capture one model; return what came of it."""
    model = create(entry.name)
    example = example_input(model)
    with torch.no_grad():
        forward = min(seconds(lambda: model(example))[0] for _ in range(2))
    checks = Checks()
    with checks.watched():
        elapsed, graph = seconds(lambda: build_from_unstructured_module(model, (example,)))
    signature = graph.signature
    result = {
        "file": entry.file,
        "parameters": entry.parameters,
        "forward": forward,
        "beyond": max(0.0, elapsed - checks.seconds - forward),
        "checks": checks.seconds,
        "vertices": sum(1 for _ in graph.traverse_paths()),
        "free batch": all(0 in spec.free for spec in signature.tensors()),
        "both modes": signature.training is None,
        "equal": None,
    }
    if entry.parameters <= max_parameters:
        del model, graph
        result["equal"] = is_equal_to_the_bit(entry)
    return result


def is_equal_to_the_bit(entry: TimmModel) -> bool:
    """Capture a model with numbers: capture raises unless graph and model return the same bits."""
    model = create(entry.name, "cpu")
    fill(model)
    shape = example_input(model).shape
    example = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return isinstance(build_from_unstructured_module(model, (example,)), DagModule)


def guarded(entry: TimmModel, max_parameters: float) -> dict[str, Any]:
    def give_up(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        return measure(entry, max_parameters)
    except Exception as error:
        return {"file": entry.file, "error": f"{type(error).__name__}: {error}"}
    finally:
        signal.alarm(0)


def round_robin(models: list[TimmModel]) -> list[TimmModel]:
    """Return the models in rounds over the files, so that a sweep cut short has seen all of them."""
    queues: dict[str, list[TimmModel]] = {}
    for model in models:
        queues.setdefault(model.file, []).append(model)
    rounds = range(max(map(len, queues.values())))
    return [queue[i] for i in rounds for queue in queues.values() if i < len(queue)]


def summary(results: dict[str, dict[str, Any]]) -> str:
    done = [result for result in results.values() if "error" not in result]
    compared = [result["equal"] for result in done if result["equal"] is not None]
    files, all_files = {r["file"] for r in done}, {r["file"] for r in results.values()}
    lines = [
        f"captured            {len(done)} of {len(results)} models ({len(done) / max(1, len(results)):.1%}), "
        f"{len(files)} of {len(all_files)} architecture files",
        f"equal to the bit    {sum(compared)} of {len(compared)} compared",
        f"batch free          {sum(result['free batch'] for result in done)}",
        f"both modes          {sum(result['both modes'] for result in done)}",
    ]
    for key, label in (
        ("beyond", "capture - forward"),
        ("checks", "comparing runs"),
        ("forward", "one forward"),
    ):
        times = sorted(result[key] for result in done) or [0.0]
        p95 = times[int(0.95 * (len(times) - 1))]
        lines.append(
            f"{label:<19} median {statistics.median(times):.2f} s, p95 {p95:.2f} s, max {times[-1]:.2f} s"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="all models, not one of each file")
    parser.add_argument("--models", nargs="*", help="these models only")
    parser.add_argument("--limit", type=int, help="stop after so many models")
    parser.add_argument("--json", type=Path, help="keep the results here, and go on where they end")
    parser.add_argument(
        "--index", type=Path, default=Path("timm_index.json"), help="list of models; made once"
    )
    parser.add_argument("--max-parameters", type=float, default=40e6, help="compare numbers up to this size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    if options.json and options.json.exists():
        results = json.loads(options.json.read_text())
    models = index(options.index)
    chosen = round_robin(models) if options.all else one_per_file(models)
    if options.models:
        chosen = [model for model in models if model.name in options.models]
    for entry in chosen[: options.limit]:
        if entry.name in results:
            continue
        results[entry.name] = guarded(entry, options.max_parameters)
        print(entry.name, results[entry.name], flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    print(summary(results))


if __name__ == "__main__":
    main()
