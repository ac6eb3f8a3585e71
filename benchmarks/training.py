"""Training steps (forward and backward) of spiking networks: snnkit's backends against other libraries.

    python benchmarks/training.py [--json FILE] [--threads 1 2] [--repeats N] [--cases NAME ...]

All candidates of a case run in this process, float32, same sizes, same input (events with probability 0.1)
and are timed in turns; what counts is the median, and its ratio to Rockpool's LIFTorch. With one thread the
process's CPU time is taken, with several the wall clock. Libraries that are not installed are left out.
Weights are scaled so that hidden neurons of snnkit and Rockpool emit some events; the cost of Rockpool's
loop does not depend on activity. Peers apply a linear layer to the whole sequence, and only the neurons loop.

Rockpool's cost per step grows with the number of steps, so it can't be scaled from shorter runs: it is run
in full, but fewer times (--slow-repeats).
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.backend import use_backend
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet

SLOW = 0.4
"""Candidates whose first run takes longer (in s) are run fewer times."""


@dataclass(frozen=True)
class Case:
    name: str
    batch: int
    steps: int
    sizes: tuple[int, ...]
    recurrent: bool = False
    synnet: bool = False
    goal: float | None = None


CASES = (
    Case("16-64-64-10", 32, 100, (16, 64, 64, 10), goal=50),
    Case("16-256-256-20", 64, 250, (16, 256, 256, 20), goal=45),
    Case("16-128-8", 16, 1000, (16, 128, 8), goal=300),
    Case("recurrent-256", 32, 250, (256,), recurrent=True, goal=15),
    Case("synnet-3x63", 16, 1000, (16, 63, 63, 63, 10), synnet=True),
)

Step = Callable[[], None]


def pairs(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(pairwise(sizes))


def weights(case: Case) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) * (0.4 / shape[0] ** 0.5) for shape in pairs(case.sizes)]


def recurrent_weights(case: Case) -> Tensor:
    n = case.sizes[0]
    return torch.randn(n, n, generator=torch.Generator().manual_seed(2)) * (0.2 / n**0.5)


def inputs(case: Case) -> Tensor:
    drawn = torch.rand(case.batch, case.steps, case.sizes[0], generator=torch.Generator().manual_seed(0))
    data = (drawn < 0.1).float()
    return data * 0.25 if case.recurrent else data


def rockpool_like(case: Case, sequential: Any, linear: Any, lif: Any, synnet: Any) -> Any:
    """Build the case with the classes of snnkit or with Rockpool's, which have the same arguments."""
    if case.recurrent:
        return lif(case.sizes[0], has_rec=True, w_rec=recurrent_weights(case))
    if case.synnet:
        return synnet(
            n_classes=case.sizes[-1],
            n_channels=case.sizes[0],
            size_hidden_layers=list(case.sizes[1:-1]),
            time_constants_per_layer=[2, 4, 8],
        )
    layers = []
    for shape, weight in zip(pairs(case.sizes), weights(case), strict=True):
        layers += [linear(shape, weight=weight, has_bias=False), lif(shape[1])]
    return sequential(*layers)


def step_of(net: Any, data: Tensor, parameters: list[Tensor]) -> Step:
    """Return a training step of a net with Rockpool's interface, without the optimiser's part."""
    grad_input = data.clone().requires_grad_()

    def step() -> None:
        for parameter in (*parameters, grad_input):
            parameter.grad = None
        net.reset_state()
        net(grad_input)[0].sum().backward()

    return step


def snnkit_step(case: Case, backend: str) -> Step:
    net = rockpool_like(case, Sequential, LinearTorch, LIFTorch, SynNet)
    step = step_of(net, inputs(case), list(net.parameters().astorch()))

    def chosen() -> None:
        with use_backend(backend):
            step()

    return chosen


def rockpool_step(case: Case) -> Step:
    from rockpool.nn.combinators import Sequential as RockpoolSequential
    from rockpool.nn.modules import LIFTorch as RockpoolLIF
    from rockpool.nn.modules import LinearTorch as RockpoolLinear
    from rockpool.nn.networks import SynNet as RockpoolSynNet

    net = rockpool_like(case, RockpoolSequential, RockpoolLinear, RockpoolLIF, RockpoolSynNet)
    return step_of(net, inputs(case), list(net.parameters().astorch()))


def layered_step(case: Case, neurons: Callable[[int], nn.Module], time_first: bool) -> Step:
    """Return a step of linear layers with neurons that take a whole sequence."""
    layers = [(nn.Linear(a, b, bias=False), neurons(b)) for a, b in pairs(case.sizes)]
    for (linear, _), weight in zip(layers, weights(case), strict=True):
        linear.weight.data = weight.T.contiguous()
    data = inputs(case).transpose(0, 1).contiguous() if time_first else inputs(case)
    data.requires_grad_()
    modules = nn.ModuleList(module for layer in layers for module in layer)

    def step() -> None:
        modules.zero_grad()
        data.grad = None
        x = data
        for linear, population in layers:
            x = population(linear(x))
        x.sum().backward()

    return step


class Stepwise(nn.Module):
    """Neurons of a library that knows single steps only; ``run`` takes an input and a state."""

    def __init__(self, run: Callable, start: Callable) -> None:
        super().__init__()
        self.run, self.start = run, start

    def forward(self, data: Tensor) -> Tensor:
        state, outputs = self.start(), []
        for current in data.unbind(0):
            output, state = self.run(current, state)
            outputs.append(output)
        return torch.stack(outputs)


def snntorch_step(case: Case) -> Step:
    import snntorch

    def neurons(n: int) -> nn.Module:
        cell = snntorch.Synaptic(alpha=0.95, beta=0.95, learn_alpha=True, learn_beta=True)

        def run(x: Tensor, state: tuple) -> tuple:
            spikes, *state = cell(x, *state)
            return spikes, state

        return Stepwise(run, cell.init_synaptic)

    return layered_step(case, neurons, time_first=True)


def spikingjelly_step(case: Case) -> Step:
    from spikingjelly.activation_based import functional, neuron

    def neurons(n: int) -> nn.Module:
        return neuron.LIFNode(tau=20.0, step_mode="m", backend="torch", detach_reset=False)

    return layered_step(case, lambda n: Resetting(neurons(n), functional.reset_net), time_first=True)


class Resetting(nn.Module):
    """Neurons whose state is set back before every sequence."""

    def __init__(self, module: nn.Module, reset: Callable) -> None:
        super().__init__()
        self.module, self.reset = module, reset

    def forward(self, data: Tensor) -> Tensor:
        self.reset(self.module)
        return self.module(data)


def norse_step(case: Case) -> Step:
    import norse.torch as norse

    return layered_step(case, lambda n: First(norse.LIF()), time_first=True)


class First(nn.Module):
    """Neurons that return a state beside their output."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, data: Tensor) -> Tensor:
        return self.module(data)[0]


def sinabs_step(case: Case) -> Step:
    from sinabs.layers import LIF

    def neurons(n: int) -> nn.Module:
        return Resetting(
            LIF(tau_mem=20.0, tau_syn=20.0, norm_input=False), lambda layer: layer.reset_states()
        )

    return layered_step(case, neurons, time_first=False)


def lif_jax_step(case: Case) -> Step:
    import jax
    from rockpool.nn.combinators import Sequential as RockpoolSequential
    from rockpool.nn.modules import LIFJax, LinearJax

    if case.recurrent:
        net = LIFJax(case.sizes[0], has_rec=True, w_rec=recurrent_weights(case).numpy())
    else:
        layers = []
        for shape, weight in zip(pairs(case.sizes), weights(case), strict=True):
            layers += [LinearJax(shape, weight=weight.numpy(), has_bias=False), LIFJax(shape[1])]
        net = RockpoolSequential(*layers)
    data = inputs(case).numpy()

    def loss(parameters: dict, x: np.ndarray) -> Tensor:
        return net.set_attributes(parameters)(x)[0].sum()

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    parameters = net.parameters()
    return lambda: jax.block_until_ready(gradient(parameters, data))


def candidates(case: Case) -> dict[str, Callable[[], Step]]:
    """List what can run this case; a peer enters where its library is installed and has such a layer."""
    found: dict[str, Callable[[], Step]] = {
        "snnkit numba": lambda: snnkit_step(case, "numba"),
        "snnkit torch": lambda: snnkit_step(case, "torch"),
    }
    if not (case.recurrent or case.synnet):
        found["linear layers alone"] = lambda: layered_step(case, lambda n: nn.Identity(), time_first=False)
    peers: dict[str, tuple[str, Callable[[Case], Step], bool]] = {
        "rockpool LIFTorch": ("rockpool", rockpool_step, True),
        "rockpool LIFJax": ("jax", lif_jax_step, not case.synnet),
        "snntorch": ("snntorch", snntorch_step, not (case.recurrent or case.synnet)),
        "spikingjelly": ("spikingjelly", spikingjelly_step, not (case.recurrent or case.synnet)),
        "norse": ("norse", norse_step, not (case.recurrent or case.synnet)),
        "sinabs": ("sinabs", sinabs_step, not (case.recurrent or case.synnet)),
    }
    for name, (library, build, can) in peers.items():
        if can and importlib.util.find_spec(library) is not None:
            found[name] = partial(build, case)
    return found


def measure(case: Case, threads: int, repeats: int, slow_repeats: int) -> dict[str, float]:
    """Return the median of every candidate's step in ms; they take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.set_num_threads(threads)
    steps: dict[str, Step] = {}
    times: dict[str, list[float]] = {}
    rounds: dict[str, int] = {}
    for name, build in candidates(case).items():
        steps[name] = build()
        start = clock()
        steps[name]()
        first = clock() - start
        times[name] = []
        rounds[name] = slow_repeats if first > SLOW and not name.startswith("snnkit") else repeats
    for turn in range(repeats):
        for name, step in steps.items():
            if turn < rounds[name]:
                if rounds[name] == repeats:
                    step()  # in training, too, the same step comes before
                start = clock()
                step()
                times[name].append(clock() - start)
    return {name: float(np.median(values)) * 1e3 for name, values in times.items()}


def first_call_seconds() -> float:
    """Import Numba, load the kernels (or compile them), and do a first step."""
    start = time.perf_counter()
    snnkit_step(Case("first", 1, 2, (2, 2)), "numba")()
    return time.perf_counter() - start


def show(case: Case, threads: int, found: dict[str, float]) -> None:
    print(f"\n{case.name}, batch {case.batch}, {case.steps} steps, {threads} thread(s)")
    ours, base = found["snnkit numba"], found.get("rockpool LIFTorch")
    for name, ms in sorted(found.items(), key=lambda item: item[1]):
        ratio = "" if base is None else f"{base / ms:8.1f}x LIFTorch"
        print(f"  {name:20s} {ms:9.2f} ms {ratio}  {ms / ours:7.2f} of snnkit numba", flush=True)
    if case.goal and base is not None:
        print(f"  goal {case.goal:.0f}x, reached {base / ours:.0f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--slow-repeats", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES])
    arguments = parser.parse_args()
    first = first_call_seconds()
    print(f"first call: {first:.2f} s (compiles where no cache is warm)")
    results = []
    for case in CASES:
        if arguments.cases and case.name not in arguments.cases:
            continue
        for threads in arguments.threads:
            found = measure(case, threads, arguments.repeats, arguments.slow_repeats)
            show(case, threads, found)
            results.append({"case": case.name, "threads": threads, "ms": found})
    if arguments.json:
        report = {"first_call_seconds": first, "results": results}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
