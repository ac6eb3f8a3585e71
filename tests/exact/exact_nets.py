"""Random networks that a chip takes, with everything that one can have, and inputs for them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from snnkit.hw.xylo import ChipExact, chip_exact
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential, StepPWL, aLIFTorch
from snnkit.transforms import ScalePlan
from snnkit.utilities.chips import get_chip

CHIPS = ("a1", "a2", "a3", "imu")


@dataclass(frozen=True)
class Case:
    """A network, its chip, the shifts to use and two batches of input."""

    chip: str
    net: nn.Module
    plan: ScalePlan
    first: torch.Tensor
    second: torch.Tensor

    def exact(self) -> ChipExact:
        return chip_exact(self.net, self.chip, plan=self.plan)


def _leaks(rng: np.random.Generator, size: int, synapses: int) -> dict[str, object]:
    mode = ("taus", "decays", "bitshifts")[rng.integers(3)]
    membrane, synaptic = rng.uniform(1, 6, size), rng.uniform(1, 6, (size, synapses))
    if mode == "bitshifts":
        values = {"dash_mem": membrane, "dash_syn": synaptic}
    else:
        values = {"alpha": 1 - 2.0**-membrane, "beta": 1 - 2.0**-synaptic}
        if mode == "taus":
            values = {
                "tau_mem": -1e-3 / np.log(values["alpha"]),
                "tau_syn": -1e-3 / np.log(values["beta"]),
            }
    return {"leak_mode": mode, **{name: torch.tensor(value) for name, value in values.items()}}


def _neurons(rng: np.random.Generator, size: int, synapses: int, chip: str, hidden: bool) -> LIFTorch:
    has_bias = get_chip(chip).has_bias
    recurrent = hidden and rng.random() < 0.5
    return LIFTorch(
        (size * synapses, size),
        **_leaks(rng, size, synapses),
        threshold=torch.tensor(rng.uniform(0.2, 2.0, size)),
        bias=torch.tensor(rng.uniform(-0.1, 0.2, size) * (has_bias and rng.random() < 0.5)),
        spike_generation_fn=(StepPWL, PeriodicExponential)[rng.integers(2)],
        learning_window=float(rng.uniform(0.2, 1.0)),
        relative_window=bool(size % 2),
        **({"has_rec": True, "w_rec": _weights(rng, size, size * synapses)} if recurrent else {}),
    )


def _weights(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.tensor(rng.normal(0.05, rng.choice([0.1, 0.4, 1.5]), shape))


def _linear(rng: np.random.Generator, sizes: tuple[int, int], chip: str) -> nn.Module:
    biased = get_chip(chip).has_bias and rng.random() < 0.4
    if rng.random() < 0.2:
        linear = nn.Linear(*sizes, bias=biased)
        linear.weight.data = _weights(rng, sizes[1], sizes[0])
        return linear
    layer = LinearTorch(sizes, weight=_weights(rng, *sizes), has_bias=biased)
    if biased:
        layer.bias.data.mul_(0.1)
    return layer


def random_case(seed: int, dtype: torch.dtype = torch.float64) -> Case:
    """Draw a case; some of them saturate, clip inputs, and fire at every limit."""
    rng = np.random.default_rng(seed)
    chip = CHIPS[rng.integers(4)]
    two = get_chip(chip).hidden_synapses == 2 and rng.random() < 0.4
    channels, size = int(rng.integers(1, 5)), int(rng.integers(1, 7))
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    width = channels
    for depth in range(rng.integers(1, 4)):
        if depth and rng.random() < 0.4:
            synapses = 1 + (two and rng.random() < 0.5)
            inner = (
                _linear(rng, (width, width * synapses), chip),
                _neurons(rng, width, synapses, chip, True),
            )
            layers.append(Residual(*inner))
            continue
        synapses = 1 + int(two and rng.random() < 0.5)
        layers.append(_linear(rng, (width, size * synapses), chip))
        if two and synapses == 1 and rng.random() < 0.3:
            layers.append(aLIFTorch(size, tau_ahp=0.01, w_ahp=-0.2))
        else:
            layers.append(_neurons(rng, size, synapses, chip, True))
        width, size = size, int(rng.integers(1, 7))
    outputs = int(rng.integers(1, 4))
    layers += [_linear(rng, (width, outputs), chip), _neurons(rng, outputs, 1, chip, False)]
    net = Sequential(*layers).to(dtype)
    shifts = rng.integers(0, 8, 3) if rng.random() < 0.7 else np.zeros(3, int)
    peak = int(rng.choice([1, 4, 15, 40]))
    steps, batch = int(rng.integers(1, 25)), int(rng.choice([1, 2, 9]))

    def events(steps: int) -> torch.Tensor:
        counts = rng.integers(0, peak + 1, (batch, steps, channels)) * (
            rng.random((batch, steps, channels)) < 0.4
        )
        return torch.tensor(counts).to(dtype)

    return Case(chip, net, ScalePlan(*map(int, shifts)), events(steps), events(steps + 3))


def recorded_by(exact: ChipExact, data: torch.Tensor) -> dict[str, np.ndarray]:
    """Return output and record of a call as arrays."""
    output, _, record = exact(data, record=True)
    return {name: value.detach().numpy() for name, value in {**record, "Spikes_out": output}.items()}
