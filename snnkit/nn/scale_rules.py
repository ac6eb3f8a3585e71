"""What the graph must know of our modules to find out which factors their channels may take.

A neuron spikes alike when its input, bias, noise and states take the same positive factor as its threshold,
and its events stay what they are. So a neuron has a factor of its own: that of its weights. Exponential
synapses are linear and pass factors on. All other modules with a state let none pass.
"""

import numpy as np
from torch import Tensor, nn

from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.dag.scales import ScaleFlow, register_scale_rule
from snnkit.dag.scales.unknowns import Ids, Term
from snnkit.nn.modules.exp_syn import ExpSynTorch
from snnkit.nn.modules.lif_base import LIFBaseTorch
from snnkit.nn.modules.lif_neuron import LIFNeuronTorch
from snnkit.nn.modules.low_pass import LowPass

__all__: list[str] = []

_PER_NEURON = ("threshold", "bias", "noise_std", "w_ahp", "vmem", "iahp")


def _neurons(op: Operation, flow: ScaleFlow) -> list[tuple[Term, ...]]:
    if flow.kind == "sign":
        return flow.barrier(op, "neurons fire at a positive threshold")
    module: nn.Module = op.target
    held: dict[str, Value] = op.argument("held")
    neurons = _count(op)
    synapses = module.n_synapses if isinstance(module, LIFBaseTorch) else 1
    by_synapse = np.broadcast_to(_channels(op, flow), (neurons * synapses,)).reshape(neurons, synapses)
    factors = flow.constant_along(by_synapse, [1]).reshape(neurons)
    _hold_for_shared_noise(op, flow, factors)
    names = [*_PER_NEURON] if getattr(module, "relative_window", False) else [*_PER_NEURON, "learning_window"]
    for name in names:
        _set(flow, held.get(name), factors)
    _set(flow, held.get("isyn"), factors[:, None])
    # Rows send events, which have factor 1; columns are the synapses of the receiving neurons.
    _set(flow, held.get("w_rec"), np.repeat(factors, synapses))
    return flow.ones(op)


def _synapses(op: Operation, flow: ScaleFlow) -> list[Ids]:
    held: dict[str, Value] = op.argument("held")
    factors = np.broadcast_to(_channels(op, flow), (_count(op),))
    if flow.kind == "positive":
        _hold_for_shared_noise(op, flow, factors)
        _set(flow, held.get("noise_std"), factors)
    for name in ("isyn", "vmem"):
        _set(flow, held.get(name), factors)
    return [factors]


def _count(op: Operation) -> int:
    return int(op.outputs[0].shape[-1])


def _channels(op: Operation, flow: ScaleFlow) -> Ids:
    """Return the factors of the input channels, which are the same in all steps and samples."""
    ids = flow.ids(next(values_in(op.argument("inputs"))))
    return flow.constant_along(ids, range(ids.ndim - 1)).reshape(-1)


def _set(flow: ScaleFlow, value: Value | None, factors: Ids) -> None:
    """Let a value take the factors of its last axes; a number for all neurons makes those equal."""
    if value is None:
        return
    if not value.shape or (value.shape[-1] == 1 and factors.shape[-1] > 1):
        factors = flow.constant_along(factors, [factors.ndim - 1])
    if not value.shape:
        factors = factors.reshape(())
    flow.set(value, (1, factors))


def _hold_for_shared_noise(op: Operation, flow: ScaleFlow, factors: Ids) -> None:
    noise = getattr(op.target, "noise_std", 0.0)
    if not isinstance(noise, Tensor) and noise != 0:
        flow.fix(
            factors,
            op,
            "noise_std is a plain number and takes no factor: expand_to_neurons() gives every neuron its own",
        )


register_scale_rule(LIFBaseTorch, _neurons)
register_scale_rule(LIFNeuronTorch, _neurons)
register_scale_rule(ExpSynTorch, _synapses)
register_scale_rule(LowPass, _synapses)
