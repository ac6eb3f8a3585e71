"""Scales and orders of neurons: what changes in events, potentials and gradients.

    python benchmarks/teleport_spiking.py [--neurons N] [--json FILE]

One recurrent population of LIFTorch between weights (16 event channels in, two synapses per neuron, biases,
thresholds 0.4 to 1.4), 20 samples of 100 steps. Each line teleports a copy of it and compares: how many of
the entries of the event raster differ, how far the potentials are from those of the original times the
factors (relative to the largest), and whether the inverse restores every parameter bit for bit. Then the
gradients of a squared error times the factors against those of the original, with absolute and with relative
windows.
"""

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.per_neuron import expand_to_neurons
from snnkit.nn.surrogates import PeriodicExponential, StepPWL
from snnkit.teleport import Element, Symmetries, inverse, random, symmetries, teleport

INPUTS, BATCH, STEPS = 16, 20, 100
Make = Callable[[Symmetries], Element]


def network(neurons: int, dtype: torch.dtype, **options: Any) -> Any:
    """Return the net; the same numbers for every type."""
    generator = torch.Generator().manual_seed(0)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    layer = LIFTorch(
        (2 * neurons, neurons),
        leak_mode="decays",
        alpha=uniform(0.6, 0.9, neurons),
        beta=uniform(0.4, 0.8, neurons, 2),
        threshold=uniform(0.4, 1.4, neurons),
        bias=uniform(-0.05, 0.05, neurons),
        has_rec=True,
        w_rec=uniform(-1, 1, neurons, 2 * neurons) / neurons**0.5 * 0.4,
        **options,
    )
    first = LinearTorch((INPUTS, 2 * neurons), weight=uniform(-0.4, 0.5, INPUTS, 2 * neurons))
    last = LinearTorch((neurons, 4), weight=uniform(-0.3, 0.3, neurons, 4))
    return Sequential(first, layer, last).to(dtype)


def rounded(net: Any) -> Any:
    """Put weights, biases and thresholds on a grid of 1/16, decays on one of 1/4: sums meet thresholds."""
    with torch.no_grad():
        for value in (net[0].weight, net[1].w_rec, net[1].bias, net[1].threshold):
            value.copy_((value * 16).round() / 16)
        for value in (net[1].alpha, net[1].beta):
            value.copy_((value * 4).round() / 4)
    return net


def events(dtype: torch.dtype) -> Tensor:
    """Return random events ``(batch, time, channels)``."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(BATCH, STEPS, INPUTS, generator=generator) < 0.3).to(dtype)


def course(net: Any, data: Tensor) -> dict[str, Tensor]:
    """Return what the neurons record."""
    torch.manual_seed(2)  # of the noise
    with torch.no_grad():
        return net(data, record=True)[2]["1_LIFTorch"]


def powers(found: Symmetries) -> Element:
    """Return powers of two between 2^-6 and 2^6."""
    return random(found, 6, "powers_of_two", generator=torch.Generator().manual_seed(3))


def generic(found: Symmetries) -> Element:
    """Return lognormal factors."""
    logs = torch.randn(found.n_scales, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return found.element(flat_scales=logs.exp())


def order(found: Symmetries) -> Element:
    """Return a random order of the neurons."""
    (freedom,) = found.permutations
    chosen = torch.randperm(freedom.size, generator=torch.Generator().manual_seed(3))
    return found.element(permutations={freedom.name: chosen})


def compared(net: Any, other: Any, element: Element, data: Tensor) -> dict[str, Any]:
    """Return events that differ, and how far potentials are from those expected."""
    expected, found = course(net, data), course(other, data)
    factors, places = torch.ones(()).to(data), slice(None)
    for values in element.scales.values():
        factors = values.to(data)
    for chosen in element.permutations.values():
        places = chosen
    events_wanted, wanted = expected["spikes"][..., places], (expected["vmem"] * factors)[..., places]
    return {
        "events": int(expected["spikes"].sum()),
        "entries": expected["spikes"].numel(),
        "differ": int((found["spikes"] != events_wanted).sum()),
        "potentials": float(((found["vmem"] - wanted).abs() / wanted.abs().amax()).max()),
    }


def tensors(net: nn.Module) -> list[Tensor]:
    return [*nn.Module.parameters(net), *nn.Module.buffers(net)]


def line(
    net: Any, make: Make, data: Tensor, spoil: Callable[[Any, Any], None] | None = None
) -> dict[str, Any]:
    """Teleport a copy and compare; ``spoil`` leaves something unscaled."""
    net.reset_state()
    element = make(symmetries(net, data))
    other = copy.deepcopy(net)
    teleport(other, element)
    back = copy.deepcopy(other)
    teleport(back, inverse(element))
    restored = all(torch.equal(one, two) for one, two in zip(tensors(net), tensors(back), strict=True))
    if spoil is not None:
        spoil(other, net)
    return {**compared(net, other, element, data), "restored": restored}


def unscaled_noise(other: Any, net: Any) -> None:
    other[1].noise_std = net[1].noise_std


def carried(net: Any, data: Tensor, scaled: bool) -> dict[str, Any]:
    """Teleport between two halves of the data, with the states of the first half or without them."""
    net.reset_state()
    with torch.no_grad():
        net(data[:, : STEPS // 2])
    other, states = copy.deepcopy(net), (net[1].vmem, net[1].isyn)
    element = powers(symmetries(net, data))
    teleport(other, element)
    if not scaled:
        other[1].vmem, other[1].isyn = states
    return compared(net, other, element, data[:, STEPS // 2 :])


def checks(neurons: int, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """Return the lines of the table for one type of numbers."""
    data, net = events(dtype), network(neurons, dtype)
    noisy = expand_to_neurons(network(neurons, dtype, noise_std=3.0))
    rows = {
        "powers of two in [1/64, 64]": line(net, powers, data),
        "lognormal": line(net, generic, data),
        "another order": line(net, order, data),
        "noise, scaled": line(noisy, powers, data),
        "noise, not scaled": line(noisy, powers, data, unscaled_noise),
        "state carried over, scaled": carried(network(neurons, dtype), data, True),
        "state carried over, not scaled": carried(network(neurons, dtype), data, False),
    }
    coarse = rounded(network(neurons, dtype))
    rows["coarse grid, powers of two"] = line(coarse, powers, data)
    rows["coarse grid, lognormal"] = line(coarse, generic, data)
    return rows


def gradients(net: Any, data: Tensor) -> dict[str, Tensor]:
    net.reset_state().zero_grad()
    output = net(data)[0]
    target = torch.rand(output.shape, generator=torch.Generator().manual_seed(4), dtype=output.dtype)
    ((output - target) ** 2).mean().backward()
    return {name: p.grad.clone() for name, p in nn.Module.named_parameters(net) if p.grad is not None}


def equivariance(neurons: int, make: Make, **options: Any) -> dict[str, dict[str, float]]:
    """Return how far c times the new gradient is from the old one, and the cosine between the two."""
    data = events(torch.float64)[:4]
    net = network(neurons, torch.float64, **options)
    element = make(symmetries(net, data))
    other = copy.deepcopy(net)
    teleport(other, element)
    own, new = gradients(net, data), gradients(other, data)
    changes, rows = element.changes(), {}
    for name, gradient in own.items():
        back = changes[name].apply(new[name]) if name in changes else new[name]
        error = float((back - gradient).abs().max() / gradient.abs().max())
        cosine = torch.nn.functional.cosine_similarity(back.flatten(), gradient.flatten(), 0)
        rows[name] = {"error": error, "cosine": float(cosine)}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--neurons", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"checks": {}, "gradients": {}}
    for dtype in (torch.float32, torch.float64):
        rows = checks(arguments.neurons, dtype)
        report["checks"][str(dtype)] = rows
        print(f"\n{dtype}, {next(iter(rows.values()))['entries']:,} entries of the event raster")
        for name, row in rows.items():
            restored = {True: "restored", False: "not restored"}.get(row.get("restored"), "")  # type: ignore[arg-type]
            print(f"{name:32} {row['differ']:8,} differ  potentials {row['potentials']:.1e}  {restored}")
    for surrogate in (StepPWL, PeriodicExponential):
        for relative in (True, False):
            options = {"spike_generation_fn": surrogate, "relative_window": relative}
            rows = equivariance(arguments.neurons, generic, **options)
            window = "relative" if relative else "absolute"
            report["gradients"][f"{surrogate.__name__} {window}"] = rows
            print(f"\n{surrogate.__name__}, {window} window: c g' against g")
            for name, row in rows.items():
                print(f"{name:32} off by {row['error']:.1e}  cosine {row['cosine']:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
