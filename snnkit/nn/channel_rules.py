"""What the graph must know of our modules to find out which of their channels belong together.

Neurons are a loop over time, often in compiled code: nothing in it can be followed operation by operation.
Each is therefore one operation of the analysis: neuron ``n`` owns its row and its column of the recurrent
weights, its time constants, threshold and states, and the input channels of its synapses.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from snnkit.dag.analysis.axes import Axis, Reason, product
from snnkit.dag.analysis.flow import Query, never
from snnkit.dag.analysis.module_rules import ModuleRule, register_module_rule, register_resize
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.dag.analysis.unification import split_inner
from snnkit.dag.pruning.resizing import with_tensors
from snnkit.nn.modules.dropout import TimeStepDropout, UnitDropout
from snnkit.nn.modules.exp_syn import ExpSynTorch
from snnkit.nn.modules.instant import InstantTorch
from snnkit.nn.modules.lif_base import LIFBaseTorch
from snnkit.nn.modules.lif_neuron import LIFNeuronTorch
from snnkit.nn.modules.linear import LinearTorch
from snnkit.nn.modules.low_pass import LowPass
from snnkit.nn.modules.module import TorchModule
from snnkit.nn.modules.rate import RateTorch
from snnkit.parameters import FixedInit

__all__: list[str] = []

_PER_SYNAPSE = frozenset({"tau_syn", "beta", "dash_syn", "isyn"})
_WEIGHTS = frozenset({"w_rec", "w_ahp", "bias"})


def _neurons(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    data = next(values_in(op.argument("inputs")))
    held: dict[str, Value] = op.argument("held")
    p.freeze(p.of(data)[:-1], "time and batch of neurons", op)
    units, synapses = _layout(op, p, p.of(data)[-1])
    if _draws_noise(op.target):
        p.freeze([units], "noise is drawn for every neuron, in their order", op)
    for name, value in held.items():
        _tie(op, p, (name, value), (units, synapses), p.of(data)[-1])
    recurrent = held.get("w_rec")
    if recurrent is not None:
        p.cost(op, (*p.of(data)[:-1], *p.of(recurrent)))
    out = op.outputs[0]
    lead = tuple(p.frozen(n, "time and batch of neurons", op) for n in out.shape[:-1])
    return [(*lead, units)]


def _layout(op: Operation, p: Propagation, channels: Axis) -> tuple[Axis, Axis]:
    """Return the axes of neurons and of synapses per neuron, whose product the input channels are."""
    neurons = op.target.n_neurons if isinstance(op.target, LIFBaseTorch) else op.outputs[0].shape[-1]
    if channels.size == 1 and neurons > 1:
        # A single channel is repeated for all neurons.
        return p.frozen(neurons, "one channel is repeated for all neurons", op), p.frozen(1, "", op)
    reason = Reason("input channels of several synapses per neuron", op.index)
    halves = split_inner(channels, max(1, channels.size // neurons), reason)
    if halves is None:
        p.freeze([channels], reason.text, op)
        halves = p.frozen(neurons, reason.text, op), p.frozen(channels.size // neurons, reason.text, op)
    # Neurons have one number of synapses: a time constant or a state of shape (1, S) is for all of them.
    p.freeze([halves[1]], "synapses of a neuron", op)
    return halves


def _tie(
    op: Operation, p: Propagation, named: tuple[str, Value], layout: tuple[Axis, Axis], channels: Axis
) -> None:
    name, value = named
    axes = p.of(value)
    if name == "w_rec":
        p.same(axes[0], layout[0], op)
        p.same(axes[1], product(layout) if channels.size == 1 else channels, op)
        p.contract(op, (value, axes[0]))
        return
    has_synapses = isinstance(op.target, LIFBaseTorch)
    wanted = layout if name in _PER_SYNAPSE and has_synapses else layout[:1]
    if value.kind == "parameter" and name not in _WEIGHTS:
        # Time constants and thresholds divide: zero is no value for them.
        p.unmasked.extend((value, axis) for axis in axes)
    own = axes[len(axes) - len(wanted) :] if len(axes) >= len(wanted) else ()
    p.freeze(axes[: len(axes) - len(own)], "the batch of a state kept from an earlier call", op)
    for one, other in zip(own, wanted, strict=False):
        p.same(one, other, op)


def _neurons_flow(op: Operation, query: Query) -> bool:
    """Neurons without input and without a bias stay silent."""
    data = next(values_in(op.argument("inputs")))
    bias = op.argument("held").get("bias")
    return query(data) is True and isinstance(bias, Value) and query(bias) is True


def _channelwise(op: Operation, query: Query) -> bool:
    return query(next(values_in(op.argument("inputs")))) is True


def _draws_noise(module: nn.Module) -> bool:
    noise = getattr(module, "noise_std", 0.0)
    return isinstance(noise, Tensor) or noise != 0


register_module_rule(LIFBaseTorch, ModuleRule(_neurons, _neurons_flow))
register_module_rule(LIFNeuronTorch, ModuleRule(_neurons, _neurons_flow))
register_module_rule(ExpSynTorch, ModuleRule(_neurons, _channelwise))
register_module_rule(LowPass, ModuleRule(_neurons, _channelwise))
register_module_rule(RateTorch, ModuleRule(_neurons, never))


# --- Smaller modules --------------------------------------------------------------------------------------


def _smaller_layer(module: nn.Module, tensors: Mapping[str, Tensor], sizes: Any) -> nn.Module:
    """Return neurons of which some are gone."""
    assert isinstance(module, TorchModule)
    smaller = with_tensors(module, tensors)
    channels, count = sizes.input_shape()[-1], sizes.result_shape()[-1]
    old_channels, old_count = module.size_in, module.size_out
    smaller._shape = (channels, count) if len(module.shape) == 2 else (count,)
    if hasattr(module, "n_neurons"):
        smaller.n_neurons = count

    def fitted(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if name == "w_rec":
            return (count, channels)
        if name in _PER_SYNAPSE and len(shape) == 2:
            return shape if shape[0] == 1 else (count, shape[1])
        return (count,) if len(shape) == 1 else shape

    if (channels, count) != (old_channels, old_count):
        _declare_again(smaller, fitted)
    return smaller


def _smaller_linear(module: nn.Module, tensors: Mapping[str, Tensor], sizes: Any) -> nn.Module:
    assert isinstance(module, LinearTorch)
    smaller = with_tensors(module, tensors)
    size_in, size_out = tensors["weight"].shape
    smaller._shape = (size_in, size_out)
    shapes = {"weight": (size_in, size_out), "bias": (size_out,)}
    _declare_again(smaller, lambda name, shape: shapes.get(name, shape) if shape else shape)
    return smaller


def _smaller_pass(module: nn.Module, tensors: Mapping[str, Tensor], sizes: Any) -> nn.Module:
    assert isinstance(module, TorchModule)
    smaller = with_tensors(module, tensors)
    ends = (sizes.input_shape()[-1], sizes.result_shape()[-1])[-len(module.shape) :]
    smaller._shape = tuple(None if old is None else n for n, old in zip(ends, module.shape, strict=True))
    return smaller


def _declare_again(module: Any, fitted: Any) -> None:
    """Let the records of a module's attributes have the shapes of its new values."""
    for name, attribute in module._registry.items():
        if not attribute.is_tensor:
            continue
        value = module._parameters.get(name, module._buffers.get(name))
        initial = attribute.init_func
        is_full = isinstance(initial, FixedInit) and isinstance(initial.value, Tensor) and initial.value.ndim
        module._registry[name] = replace(
            attribute,
            shape=fitted(name, attribute.shape),
            permitted_shapes=tuple(fitted(name, shape) for shape in attribute.permitted_shapes),
            init_func=FixedInit(value) if is_full and value is not None else initial,
        )


for _neuron in (LIFBaseTorch, LIFNeuronTorch, ExpSynTorch, LowPass, RateTorch):
    register_resize(_neuron, _smaller_layer)
register_resize(LinearTorch, _smaller_linear)
for _passing in (InstantTorch, TimeStepDropout, UnitDropout):
    register_resize(_passing, _smaller_pass)
