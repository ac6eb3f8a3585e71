"""The computation of a kernel's autograd node on torch's operations, for gradients of gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.kernels.lif_function import LIFOptions
from snnkit.nn.lif_types import Adaptation, LIFDynamics, LIFState, NeuronInputs, SpikeGeneration
from snnkit.nn.single_state_loops import lif_neuron_reference
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

__all__ = ["gradients_with_graph", "plain_run"]


def plain_run(options: LIFOptions) -> Callable[..., tuple[Tensor | None, ...]]:
    """Return a function from :class:`NeuronInputs` to the outputs of the nodes.

    They are spikes, the last vmem, isyn and iahp, potentials before reset, charges before their leak, and the
    course of iahp; None for what the neurons don't have.
    """
    function = (PeriodicExponential if options.surrogate is PeriodicExponential else StepPWL).apply

    def run(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = NeuronInputs._make(tensors)
        spike = SpikeGeneration(
            inputs.threshold, function, options.window, options.max_spikes, options.relative
        )
        return _without_synapses(inputs, spike) if inputs.isyn is None else _with_synapses(inputs, spike)

    return run


def _without_synapses(inputs: NeuronInputs, spike: SpikeGeneration) -> tuple[Tensor | None, ...]:
    spikes, last, record = lif_neuron_reference(
        inputs.data, inputs.vmem, inputs.alpha, inputs.bias, spike, record=True
    )
    return spikes, last, None, None, record["vmem"] + spikes * inputs.threshold, None, None


def _with_synapses(inputs: NeuronInputs, spike: SpikeGeneration) -> tuple[Tensor | None, ...]:
    from snnkit.nn.functional import lif_reference

    own = None if inputs.iahp is None else Adaptation(inputs.w_ahp, inputs.gamma)
    dynamics = LIFDynamics(inputs.alpha, inputs.beta, inputs.bias, spike, inputs.w_rec, own)
    state = LIFState(inputs.vmem, inputs.isyn, inputs.spikes, inputs.iahp)
    spikes, last, record = lif_reference(inputs.data, state, dynamics, inputs.noise, record=True)
    potentials = record["vmem"] + spikes * inputs.threshold
    before = torch.cat([inputs.isyn[:, None], record["isyn"][:, :-1]], 1)
    charges = before + inputs.data.view_as(before) + record["irec"]
    return spikes, last.vmem, last.isyn, last.iahp, potentials, charges, record.get("iahp")


def gradients_with_graph(
    run: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Tensor | None],
    need: Sequence[bool],
    gradients: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Return gradients that have a graph of their own, for gradients of gradients.

    Args:
        run: the node's computation on torch's operations, from ``inputs`` to its outputs.
        inputs: of the node.
        need: which of them want a gradient.
        gradients: that arrived for the outputs; None for those without.
    """
    pairs = [(o, g) for o, g in zip(run(*inputs), gradients, strict=True) if g is not None]
    wanted: Any = [tensor for tensor, is_needed in zip(inputs, need, strict=True) if is_needed]
    outputs: Any = [o for o, _ in pairs]
    found = iter(
        torch.autograd.grad(outputs, wanted, [g for _, g in pairs], create_graph=True, allow_unused=True)
    )
    return tuple(next(found) if is_needed else None for is_needed in need)
