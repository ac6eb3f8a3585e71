"""Networks whose values the chip holds exactly: the program's events are the network's, hop for hop.

Float values are chosen as the chip's integers (scale 1), decays as bit shifts. What is left is the floor of
the integer decays, a few units; each test therefore takes a network and data in which, by the float run
alone, no membrane comes that near to a threshold.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnkit.hw.xylo import deploy
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, aLIFTorch
from snnkit.transforms.scaling import ScalePlan

SHIFT = 6
PLAN = ScalePlan(weight_shift_in=SHIFT, weight_shift_rec=SHIFT, weight_shift_out=SHIFT)
MARGIN = 16.0
STEPS = 30
LARGEST = 30_000.0


def weights(generator: torch.Generator, sources: int, targets: int) -> Tensor:
    """Integer weights that use the whole range in every column, so that each neuron's scale is 1."""
    values = torch.randint(-80, 127, (sources, targets), generator=generator).to(torch.float64)
    values[torch.randint(0, sources, (targets,), generator=generator), torch.arange(targets)] = 127.0
    return values * 2**SHIFT


def neurons(kind: type, shape: int | tuple[int, int], cap: int, generator: torch.Generator, **more: object):
    size = shape if isinstance(shape, int) else shape[1]
    low = 3000 if cap > 1 else 6000
    threshold = torch.randint(low, 2 * low, (size,), generator=generator).to(torch.float64)
    return kind(
        shape, leak_mode="bitshifts", dash_mem=torch.full((size,), 1.0), dash_syn=torch.tensor(1.0),
        threshold=threshold, max_spikes_per_dt=cap, **more,
    )  # fmt: skip


def feed_forward(generator: torch.Generator) -> nn.Module:
    return Sequential(
        LinearTorch((4, 8), weight=weights(generator, 4, 8)), neurons(LIFTorch, 8, 31, generator),
        LinearTorch((8, 2), weight=weights(generator, 8, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def deep(generator: torch.Generator) -> nn.Module:
    return Sequential(
        LinearTorch((4, 6), weight=weights(generator, 4, 6)), neurons(LIFTorch, 6, 31, generator),
        LinearTorch((6, 5), weight=weights(generator, 6, 5)), neurons(LIFTorch, 5, 31, generator),
        LinearTorch((5, 4), weight=weights(generator, 5, 4)), neurons(LIFTorch, 4, 31, generator),
        LinearTorch((4, 2), weight=weights(generator, 4, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def recurrent(generator: torch.Generator) -> nn.Module:
    loop = torch.randint(-60, 30, (6, 6), generator=generator).to(torch.float64) * 2**SHIFT
    hidden = neurons(LIFTorch, 6, 31, generator, has_rec=True, w_rec=loop)
    return Sequential(
        LinearTorch((4, 6), weight=weights(generator, 4, 6)), hidden,
        LinearTorch((6, 2), weight=weights(generator, 6, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def two_synapses(generator: torch.Generator) -> nn.Module:
    hidden = LIFTorch(
        (10, 5), leak_mode="bitshifts", dash_mem=torch.tensor(1.0), max_spikes_per_dt=31,
        dash_syn=torch.tensor([[1.0, 2.0]]),
        threshold=torch.randint(8000, 16000, (5,), generator=generator).to(torch.float64),
    )  # fmt: skip
    return Sequential(
        LinearTorch((4, 10), weight=weights(generator, 4, 10)), hidden,
        LinearTorch((5, 2), weight=weights(generator, 5, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def adaptive(generator: torch.Generator) -> nn.Module:
    tired = neurons(aLIFTorch, 5, 31, generator)
    hidden = aLIFTorch(
        5, tau_ahp=-1e-3 / np.log(0.75), w_ahp=torch.full((5,), -50.0 * 2**SHIFT, dtype=torch.float64),
        leak_mode="bitshifts", dash_mem=tired.dash_mem.detach(), dash_syn=torch.tensor(1.0),
        threshold=tired.threshold.detach(), max_spikes_per_dt=31,
    )  # fmt: skip
    return Sequential(
        LinearTorch((4, 5), weight=weights(generator, 4, 5)), hidden,
        LinearTorch((5, 2), weight=weights(generator, 5, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def biased(generator: torch.Generator) -> nn.Module:
    first = neurons(LIFTorch, 8, 31, generator, bias=torch.arange(-60.0, 100.0, 20.0, dtype=torch.float64))
    return Sequential(
        LinearTorch((4, 8), weight=weights(generator, 4, 8)), first,
        LinearTorch((8, 2), weight=weights(generator, 8, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def delayed(data: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(data[:, :1]), data[:, :-1]], dim=1)


def safe_margin(module: LIFTorch, record: dict[str, Tensor]) -> float:
    """Smallest distance between a membrane and the threshold that it passes or misses; 0 above 15 bits."""
    before = record["vmem"] + record["spikes"] * module.threshold
    if float(before.abs().max()) > LARGEST or float((record["isyn"] / module.beta.min()).max()) > LARGEST:
        return 0.0
    multiple = (before / module.threshold).round().clamp(min=1.0, max=float(module.max_spikes_per_dt))
    return float((before - multiple * module.threshold).abs().min())


def run(
    net: nn.Module, data: Tensor, hop: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, Tensor], float]:
    """Run a chain (with residual blocks) layer by layer; ``hop`` is applied between neurons and weights."""
    spikes: dict[str, Tensor] = {}
    margins = []

    def through(modules: nn.Module, value: Tensor, prefix: str) -> Tensor:
        for name, module in modules.named_children():
            if isinstance(module, LinearTorch):
                value = module(value if not spikes else hop(value))[0]
            elif isinstance(module, LIFTorch | aLIFTorch):
                value, _, record = module(value, record=True)
                margins.append(safe_margin(module, record))
                spikes[prefix + name] = value
            else:
                value = value + through(module, value, f"{prefix}{name}.")
        return value

    with torch.no_grad():
        return through(net, data, ""), spikes, min(margins)


def find_case(build: Callable[[torch.Generator], nn.Module], hop: Callable[[Tensor], Tensor]):
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        net = build(generator).double()
        data = (torch.rand(1, STEPS, 4, generator=generator) < 0.2).double()
        output, spikes, margin = run(net, data, hop)
        events = [int(value.sum()) for value in spikes.values()]
        if margin > MARGIN and min(events) >= 5:
            return net, data, output, spikes
    pytest.fail("No network with safe margins among 400 seeds.")


@pytest.mark.parametrize(
    ("build", "chip"),
    [
        (feed_forward, "imu"),
        (feed_forward, "a1"),
        (deep, "a2"),
        (deep, "imu"),
        (recurrent, "imu"),
        (two_synapses, "a3"),
        (adaptive, "a2"),
        (biased, "imu"),
    ],
)
def test_events_are_the_networks_shifted_by_one_step_per_hop(build, chip):
    net, data, output, spikes = find_case(build, hop=lambda value: value)
    deployment = deploy(net, chip, plan=PLAN)
    for path, scale in deployment.scales.items():
        assert np.array_equal(scale, np.ones_like(scale)), path
    assert torch.equal(deployment.run(data), output.long())
    _, _, record = deployment.simulator()(deployment.padded(data), record=True)
    hidden = [population for population in deployment.mapped.populations if population.layer == "hidden"]
    for population, delay in zip(hidden, deployment.mapped.delays, strict=False):
        found = record["Spikes"][:, delay : delay + STEPS, population.start : population.stop]
        assert torch.equal(found.long(), spikes[population.path].long()), population.path
    assert deployment.delay == len(hidden)


def residual(generator: torch.Generator) -> nn.Module:
    block = Residual(
        LinearTorch((5, 5), weight=weights(generator, 5, 5)), neurons(LIFTorch, 5, 15, generator)
    )
    return Sequential(
        LinearTorch((4, 5), weight=weights(generator, 4, 5)), neurons(LIFTorch, 5, 15, generator), block,
        LinearTorch((5, 2), weight=weights(generator, 5, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


def recurrent_residual(generator: torch.Generator) -> nn.Module:
    """Weights and recurrent weights of the block are such that their difference fits 8 bits."""
    forward = (weights(generator, 5, 5) / 2**SHIFT).clamp(min=0)
    loop = torch.randint(-60, 1, (5, 5), generator=generator).to(torch.float64)
    loop[forward - loop > 127] = 0
    forward[0] = 127
    loop[0] = 0
    hidden = neurons(LIFTorch, 5, 15, generator, has_rec=True, w_rec=loop * 2**SHIFT)
    return Sequential(
        LinearTorch((4, 5), weight=weights(generator, 4, 5)), neurons(LIFTorch, 5, 15, generator),
        Residual(LinearTorch((5, 5), weight=forward * 2**SHIFT), hidden),
        LinearTorch((5, 2), weight=weights(generator, 5, 2)), neurons(LIFTorch, 2, 1, generator),
    )  # fmt: skip


@pytest.mark.parametrize("build", [residual, recurrent_residual])
def test_residual_blocks_add_the_skip_path_one_step_early(build):
    """Every hop takes a step; the copy of the block's input is added in the step in which it arose."""
    net, data, output, spikes = find_case(build, hop=delayed)
    deployment = deploy(net, "imu", plan=PLAN)
    assert any(deployment.specification.aliases)
    _, _, record = deployment.simulator()(data, record=True)
    first, block = (record["Spikes"][..., start : start + 5].long() for start in (0, 5))
    assert torch.equal(first, spikes["1_LIFTorch"].long())
    assert torch.equal(block, (spikes["1_LIFTorch"] + spikes["2_TorchResidual.1_LIFTorch"]).long())
    assert torch.equal(deployment.simulator()(data)[0], output.long())
