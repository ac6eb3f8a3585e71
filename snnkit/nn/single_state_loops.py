"""The plain loops over time of :mod:`snnkit.nn.single_state`: what the kernels must equal."""

import torch
from torch import Tensor

from snnkit.nn.lif_types import SpikeGeneration

__all__ = ["exp_synapse_reference", "lif_neuron_reference"]


def lif_neuron_reference(
    drive: Tensor, vmem: Tensor, alpha: Tensor, bias: Tensor, spike: SpikeGeneration, *, record: bool = False
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Run neurons without synapses on torch's operations; ``drive`` is input with noise, ``(B, T, N)``."""
    outputs, course = [], []
    for current in drive.unbind(1):
        vmem = vmem * alpha + current + bias
        spikes = spike(vmem)
        vmem = vmem - spikes * spike.threshold
        outputs.append(spikes)
        if record:
            course.append(vmem)
    spikes = torch.stack(outputs, 1)
    return spikes, vmem, {"vmem": torch.stack(course, 1), "spikes": spikes} if record else {}


def exp_synapse_reference(drive: Tensor, isyn: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Run exponential synapses on torch's operations; ``drive`` is input with noise, ``(B, T, N)``."""
    outputs = []
    for current in drive.unbind(1):
        isyn = (isyn + current) * beta
        outputs.append(isyn)
    return torch.stack(outputs, 1), isyn
