"""Training steps of training.py's nets on a CUDA device: Triton's kernels, torch and spikingjelly.

    python benchmarks/training_cuda.py [--json FILE] [--device cuda:0] [--repeats N] [--cases NAME ...]

float32, forward and backward, gradients to input and parameters, without the optimiser's part. Candidates
take turns; each step is timed between two events of the device, and what counts is the median. Given, too, is
the most memory that a step holds. spikingjelly enters with the fused backend that it chooses (from version 2
on) or with each of cupy and triton that is installed; its neurons have no synapses, its layers no recurrence.
Without a CUDA device nothing is measured, and the exit status is 2.
"""

import argparse
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from training import CASES, Case, inputs, rockpool_like

from snnkit.nn.backend import use_backend
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet

Step = Callable[[], None]

NO_DEVICE = 2
"""Exit status without a CUDA device."""


def stepping(run: Any, data: Tensor, parameters: list[Tensor]) -> Step:
    """Return a training step of ``run``, which takes the input and returns the output."""
    data = data.requires_grad_()

    def step() -> None:
        for tensor in (*parameters, data):
            tensor.grad = None
        run(data).sum().backward()

    return step


def snnkit_step(case: Case, device: torch.device, backend: str) -> Step:
    net = rockpool_like(case, Sequential, LinearTorch, LIFTorch, SynNet).to(device)

    def run(data: Tensor) -> Tensor:
        with use_backend(backend):
            return net.reset_state()(data)[0]

    return stepping(run, inputs(case).to(device), list(net.parameters().astorch()))


def spikingjelly_step(case: Case, device: torch.device, arguments: dict[str, Any]) -> Step:
    """Return a step of spikingjelly's neurons behind the weights of snnkit's net."""
    from spikingjelly.activation_based import functional, neuron

    own = rockpool_like(case, Sequential, LinearTorch, LIFTorch, SynNet)
    layers: list[nn.Module] = []
    for weight in (layer.weight for layer in own if isinstance(layer, LinearTorch)):
        linear = nn.Linear(*weight.shape, bias=False)
        linear.weight.data = weight.detach().T.contiguous()
        layers += [linear, neuron.LIFNode(tau=20.0, step_mode="m", detach_reset=False, **arguments)]
    net = nn.Sequential(*layers).to(device)

    def run(data: Tensor) -> Tensor:
        functional.reset_net(net)
        return net(data)

    data = inputs(case).transpose(0, 1).contiguous().to(device)
    return stepping(run, data, list(net.parameters()))


def candidates(case: Case, device: torch.device) -> dict[str, Step]:
    """Build what can run this case; a backend of spikingjelly's that can't is named, and left out."""
    found = {f"snnkit {name}": snnkit_step(case, device, name) for name in ("triton", "torch")}
    if case.recurrent or case.synnet or importlib.util.find_spec("spikingjelly") is None:
        return found
    for name, arguments in spikingjelly_backends().items():
        # Whatever the other library fails with, the rest can be measured.
        try:
            step = spikingjelly_step(case, device, arguments)
            step()
        except Exception as error:
            print(f"  {name}: left out, {type(error).__name__}: {error}")
        else:
            found[name] = step
    return found


def spikingjelly_backends() -> dict[str, dict[str, str]]:
    """Return arguments of neurons: versions before 2 are told their backend, later ones choose it."""
    from spikingjelly.activation_based import neuron

    if "backend" not in inspect.signature(neuron.LIFNode).parameters:
        return {"spikingjelly": {}}
    installed = [name for name in ("triton", "cupy") if importlib.util.find_spec(name) is not None]
    return {f"spikingjelly {name}": {"backend": name} for name in installed}


def timed(step: Step, device: torch.device) -> float:
    """Return the milliseconds of one step on the device."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    step()
    end.record()
    torch.cuda.synchronize(device)
    return start.elapsed_time(end)


def measure(case: Case, device: torch.device, repeats: int) -> dict[str, dict[str, float]]:
    """Return median ms and most MiB of each candidate; they take turns."""
    steps = candidates(case, device)
    memory = {}
    for name, step in steps.items():
        for _ in range(3):  # the first compiles
            step()
        torch.cuda.reset_peak_memory_stats(device)
        step()
        memory[name] = torch.cuda.max_memory_allocated(device) / 2**20
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            times[name].append(timed(step, device))
    return {
        name: {"ms": float(np.median(values)), "MiB": round(memory[name], 1)}
        for name, values in times.items()
    }


def show(case: Case, found: dict[str, dict[str, float]]) -> None:
    print(f"\n{case.name}, batch {case.batch}, {case.steps} steps")
    ours = found["snnkit triton"]["ms"]
    for name, figures in sorted(found.items(), key=lambda item: item[1]["ms"]):
        ratio = figures["ms"] / ours
        print(
            f"  {name:20s} {figures['ms']:9.3f} ms  {ratio:7.2f} of ours  {figures['MiB']:8.1f} MiB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES])
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(
            "No CUDA device (torch.cuda.is_available() is False): nothing to measure. On the CPU run "
            "benchmarks/training.py.",
            file=sys.stderr,
        )
        raise SystemExit(NO_DEVICE)
    device = torch.device(arguments.device)
    torch.cuda.set_device(device)
    name = torch.cuda.get_device_name(device)
    print(f"{name}, torch {torch.__version__}, triton {importlib.import_module('triton').__version__}")
    results = {}
    for case in CASES:
        if arguments.cases is None or case.name in arguments.cases:
            results[case.name] = measure(case, device, arguments.repeats)
            show(case, results[case.name])
    if arguments.json:
        arguments.json.write_text(json.dumps({"device": name, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
