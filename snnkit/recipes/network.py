"""Builds a recipe's network and puts it into a state from which training starts well."""

import torch
from torch import Tensor

from snnkit.nn.combinators.sequential import TorchSequential
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential, UnitDropout
from snnkit.recipes.recipe import NetworkSection
from snnkit.training.readout import Readout
from snnkit.utilities.chips import Chip

__all__ = ["build_network", "set_working_point"]

_OUTPUT_WINDOW = 1.0
"""Width of the output neurons' surrogate, in thresholds. It has two sides: a class that is silent must still
learn, and one that fires in every step must not drive the hidden neurons further."""
_INPUT_SPREAD, _RECURRENT_SPREAD, _OUTPUT_SPREAD = 0.5, 0.2, 0.35
_HIDDEN_DRIVE, _OUTPUT_DRIVE = 0.1, 0.15


def build_network(
    section: NetworkSection, channels: int, readout: Readout, chip: Chip, *, dropout: float, seed: int
) -> TorchSequential:
    """Return Linear, LIF, (dropout) for every hidden layer, then Linear, LIF for the output.

    Weights are standard normal numbers drawn from ``seed``; :func:`set_working_point` gives them their size.
    Only weights, and biases if the recipe wants them, require a gradient: thresholds stay 1, decays stay on
    the chip's dashes.
    """
    generator = torch.Generator().manual_seed(seed)
    modules: list[torch.nn.Module] = []
    width = channels
    for size in section.hidden:
        modules += [_linear(width, size, generator), _hidden(section, size, chip, generator)]
        if dropout:
            modules.append(UnitDropout((size,), p=dropout))
        width = size
    modules += [_linear(width, readout.outputs, generator), _output(section, readout.outputs, chip)]
    net = TorchSequential(*modules)
    trained = ("weight", "w_rec", "bias") if section.biases else ("weight", "w_rec")
    for name, parameter in torch.nn.Module.named_parameters(net):
        parameter.requires_grad_(name.rsplit(".", 1)[-1] in trained)
    return net


def _linear(size_in: int, size_out: int, generator: torch.Generator) -> LinearTorch:
    return LinearTorch((size_in, size_out), weight=torch.randn(size_in, size_out, generator=generator))


def _hidden(section: NetworkSection, size: int, chip: Chip, generator: torch.Generator) -> LIFTorch:
    synapse, membrane = section.synapse_dashes, section.membrane_dashes
    # The membrane's dash changes once per round of synapse dashes, so that every pair occurs.
    dash_syn = [synapse[i % len(synapse)] for i in range(size)]
    dash_mem = [membrane[(i // len(synapse)) % len(membrane)] for i in range(size)]
    recurrence = {"has_rec": True, "w_rec": torch.randn(size, size, generator=generator)}
    return LIFTorch(
        size,
        leak_mode="bitshifts",
        dash_mem=torch.tensor(dash_mem, dtype=torch.get_default_dtype()),
        dash_syn=torch.tensor(dash_syn, dtype=torch.get_default_dtype())[:, None],
        bias=torch.zeros(size),
        threshold=torch.ones(size),
        max_spikes_per_dt=float(chip.hidden_event_cap),
        dt=section.dt,
        **(recurrence if section.recurrent else {}),  # type: ignore[arg-type]
    )


def _output(section: NetworkSection, size: int, chip: Chip) -> LIFTorch:
    return LIFTorch(
        size,
        leak_mode="bitshifts",
        dash_mem=torch.full((size,), float(section.output_membrane_dash)),
        dash_syn=torch.full((size, 1), float(section.output_synapse_dash)),
        bias=torch.zeros(size),
        threshold=torch.ones(size),
        spike_generation_fn=PeriodicExponential,
        learning_window=_OUTPUT_WINDOW,
        max_spikes_per_dt=float(chip.output_event_cap),
        dt=section.dt,
    )


@torch.no_grad()
def set_working_point(net: TorchSequential, events: Tensor) -> None:
    """Scale and shift weights, layer by layer, so that every neuron is neither silent nor saturated.

    On ``events`` ``(batch, time, channels)`` each neuron's synaptic current gets a fixed standard deviation
    and a small positive mean, in thresholds. Without this, neurons with long time constants would start
    saturated and those with short ones silent, and silence has no gradient.
    """
    data = events.to(torch.get_default_dtype())
    linears = [module for module in net if isinstance(module, LinearTorch)]
    populations = [module for module in net if isinstance(module, LIFTorch)]
    for linear, neurons in zip(linears, populations, strict=True):
        last = neurons is populations[-1]
        spread = _OUTPUT_SPREAD if last else _INPUT_SPREAD
        drive = _OUTPUT_DRIVE if last else _HIDDEN_DRIVE
        beta = neurons.beta.flatten()
        _set_current(linear.weight, data, beta, spread, drive)
        if neurons.w_rec is not None:
            drawn = neurons.w_rec.clone()
            neurons.w_rec.zero_()
            spikes = _answer(neurons, data @ linear.weight)
            neurons.w_rec.copy_(drawn)
            _set_current(neurons.w_rec, spikes, beta, _RECURRENT_SPREAD, 0.0)
        data = _answer(neurons, data @ linear.weight)


def _set_current(weight: Tensor, data: Tensor, beta: Tensor, spread: float, drive: float) -> None:
    """Give the currents that ``data`` ``(batch, time, sources)`` makes a spread and a mean, by weights alone.

    The mean is moved along the sources' own mean activity, which changes the weights least.
    """
    activity = data.mean(dim=(0, 1))
    direction = activity / activity.square().sum().clamp(min=1e-12)
    weight.sub_(torch.outer(direction, activity @ weight))
    weight.mul_(spread / _deviation(_current(data @ weight, beta)))
    mean = _current(data @ weight, beta).mean(dim=(0, 1))
    per_unit = _current((data @ direction)[..., None].expand(-1, -1, len(beta)), beta).mean(dim=(0, 1))
    weight.add_(torch.outer(direction, (drive - mean) / per_unit.clamp(min=1e-12)))


def _current(charge: Tensor, beta: Tensor) -> Tensor:
    """Synaptic current ``(batch, time, neurons)`` that ``charge`` of that shape leaves."""
    current, course = torch.zeros_like(charge[:, 0]), []
    for step in charge.unbind(1):
        current = (current + step) * beta
        course.append(current)
    return torch.stack(course, 1)


def _deviation(current: Tensor) -> Tensor:
    deviation = current.flatten(0, 1).std(dim=0)
    return deviation.clamp(min=1e-3 * float(deviation.max()) + 1e-12)


def _answer(neurons: LIFTorch, data: Tensor) -> Tensor:
    neurons.reset_state()
    answer: Tensor = neurons(data)[0]
    neurons.reset_state()
    return answer
