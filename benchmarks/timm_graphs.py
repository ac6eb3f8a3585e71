"""Capture the models of timm as graphs, and say how many, how exactly and how fast.

    python benchmarks/timm_graphs.py --per-file --json timm.json
    python benchmarks/timm_graphs.py --json timm.json            # all of them; goes on where it stopped

Needs timm (``pip install --no-deps timm``, and pyyaml, huggingface_hub, safetensors). timm imports
torchvision, whose compiled part is not built for CPU-only torch; of the models none computes anything
with it. So this script puts a stand-in in its place: packages whose names can be imported, and that raise
if something calls them.

Each model is captured twice. On the meta device, which holds shapes but no numbers, for the time: that of
the whole capture, checks against the model included, less one forward. And, up to ``--max-parameters``,
with random numbers in all parameters and buffers, for the outputs: capture itself compares graph and model
on two batches, and accepts no difference in a single bit.
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import signal
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnkit.dag import DagModule, build_from_unstructured_module

BATCH = 2
SECONDS = 120


class _Anything(type):
    """A class of which every attribute exists, such as the members of an enumeration."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _StandIn(types.ModuleType):
    """A module of which every name exists; classes can be derived from and compared with, not called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError(f"{self.__name__}.{name} is not there: only a stand-in for torchvision is.")

        value = _Anything(name, (), {"__init__": refuse}) if name[:1].isupper() else refuse
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision and everything in it."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.split(".", maxsplit=1)[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__version__ = "0.0"  # type: ignore[attr-defined]


def import_timm() -> Any:
    """Import timm, with the stand-in if there is no torchvision."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Finder())
    import timm

    return timm


def make(timm: Any, name: str, device: str) -> tuple[nn.Module, tuple[int, ...]]:
    with torch.device(device):
        model = timm.create_model(name).eval()
    return model, tuple(model.pretrained_cfg["input_size"])


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


def seconds(action: Any) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def measure(timm: Any, name: str, max_parameters: float) -> dict[str, Any]:
    """Capture one model; return what came of it."""
    model, size = make(timm, name, "meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    example = torch.zeros(BATCH, *size, device="meta")
    with torch.no_grad():
        forward = min(seconds(lambda: model(example))[0] for _ in range(2))
    elapsed, graph = seconds(lambda: build_from_unstructured_module(model, (example,)))
    free = [0 in spec.free for spec in graph.signature.tensors()]
    result = {
        "parameters": parameters,
        "forward": forward,
        "beyond": elapsed - forward,
        "vertices": sum(1 for _ in graph.traverse_paths()),
        "free batch": all(free),
        "equal": None,
    }
    if parameters <= max_parameters:
        result["equal"] = check_bits(timm, name, size)
    return result


def check_bits(timm: Any, name: str, size: tuple[int, ...]) -> bool:
    model, _ = make(timm, name, "cpu")
    fill(model)
    example = torch.randn(BATCH, *size, generator=torch.Generator().manual_seed(1))
    graph = build_from_unstructured_module(model, (example,))
    return isinstance(graph, DagModule)


def guarded(timm: Any, name: str, max_parameters: float) -> dict[str, Any]:
    def give_up(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        return measure(timm, name, max_parameters)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        signal.alarm(0)


def files_of(timm: Any) -> dict[str, list[str]]:
    """Return the models of each architecture file."""
    return {module: timm.list_models(module=module) for module in timm.list_modules()}


def smallest(timm: Any, names: list[str]) -> str:
    """Return the model with the fewest parameters, of some of those with small names and sizes."""
    hints = ("test", "femto", "atto", "pico", "nano", "xxs", "xs", "tiny", "small", "_t", "_s", "18", "0")

    def rank(name: str) -> tuple[int, int]:
        return next((i for i, hint in enumerate(hints) if hint in name), len(hints)), len(name)

    def count(name: str) -> int:
        return sum(parameter.numel() for parameter in make(timm, name, "meta")[0].parameters())

    return min(sorted(names, key=rank)[:3], key=count)


def chosen(timm: Any, per_file: bool, pattern: str) -> list[str]:
    files = {module: names for module, names in files_of(timm).items() if names}
    first = [smallest(timm, names) for names in files.values()] if per_file else []
    if per_file:
        return first
    # Round-robin over the files, so that a sweep that is cut short has seen all of them.
    queues = [sorted(names) for names in files.values()]
    rounds = (queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue))
    return [name for name in rounds if pattern in name]


def summary(results: dict[str, dict[str, Any]]) -> str:
    done = [result for result in results.values() if "error" not in result]
    compared = [result["equal"] for result in done if result["equal"] is not None]
    times = sorted(result["beyond"] for result in done) or [0.0]
    share = 100 * len(done) / max(1, len(results))
    return (
        f"{len(results)} models, {len(done)} captured ({share:.1f} %), "
        f"{sum(compared)} of {len(compared)} compared equal to the bit, "
        f"batch free in {sum(result['free batch'] for result in done)}; seconds beyond the forward's: "
        f"median {statistics.median(times):.2f}, p95 {times[int(0.95 * (len(times) - 1))]:.2f}, "
        f"max {times[-1]:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-file", action="store_true", help="one small model of each architecture file")
    parser.add_argument("--models", nargs="*", help="these models only")
    parser.add_argument("--filter", default="", help="only models with this in their names")
    parser.add_argument("--limit", type=int, help="stop after so many models")
    parser.add_argument("--json", type=Path, help="keep the results here, and go on where they end")
    parser.add_argument("--max-parameters", type=float, default=40e6, help="compare numbers up to this size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timm = import_timm()
    results: dict[str, Any] = {}
    if options.json and options.json.exists():
        results = json.loads(options.json.read_text())
    names = options.models or chosen(timm, options.per_file, options.filter)
    for name in names[: options.limit]:
        if name in results:
            continue
        results[name] = guarded(timm, name, options.max_parameters)
        print(name, results[name], flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    print(summary({name: results[name] for name in names[: options.limit]}))


if __name__ == "__main__":
    main()
