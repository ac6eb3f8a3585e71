"""What each kind of module becomes on a chip. Kinds without a rule here are violations."""

from collections.abc import Sequence
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.dag import Add, Concat, Identity
from snnkit.nn.modules import (
    LIFBaseTorch,
    LIFTorch,
    LinearTorch,
    TimeStepDropout,
    UnitDropout,
    aLIFTorch,
)

from .reader import Reader
from .values import Current, Events, Node, Projection, Term, Unknown, Value

__all__ = ["read_module"]

Values = Sequence[Value]

_ADVICE = {
    "LIFNeuronTorch": "A chip neuron has a decaying synapse in front of its membrane: use LIFTorch.",
    "ExpSynTorch": "Use a LIFTorch layer; the chip can read out its Isyn or Vmem (output_mode).",
    "RateTorch": "Xylo neurons are spiking: use LIFTorch.",
    "UpDownTorch": "Encode the recording before it enters the network, and deploy the rest.",
    "Activation": "Activity transforms are for training: deploy the network without them (remove_T_net).",
    "BatchNorm1d": "Fold the normalisation into the weights of the layer before it.",
}
_NO_GRAPH = "Build it from Sequential and Residual, or give its class an as_graph() method."
_NEURONS_ONLY = "A chip runs LinearTorch weights and LIFTorch neurons: take this module out of the network."


@singledispatch
def read_module(module: nn.Module, reader: Reader, path: str, values: Values) -> Value:
    """Return what ``module`` makes of ``values``; the rule is chosen by the module's class."""
    kind = type(module).__name__
    default = _NO_GRAPH if any(True for _ in module.children()) else _NEURONS_ONLY
    return reader.refuse("module", path, kind, "weights and LIF neurons", _ADVICE.get(kind, default))


@read_module.register(Identity)
@read_module.register(nn.Identity)
@read_module.register(nn.Dropout)
@read_module.register(UnitDropout)
@read_module.register(TimeStepDropout)
def _read_identity(module: nn.Module, reader: Reader, path: str, values: Values) -> Value:
    """Dropouts do nothing in evaluation."""
    return values[0] if len(values) == 1 else _wrong_arity(module, reader, path, values)


@read_module.register(Add)
def _read_add(module: Add, reader: Reader, path: str, values: Values) -> Value:
    currents = [value for value in values if isinstance(value, Current)]
    events = [value for value in values if isinstance(value, Events)]
    if len(values) == 1:
        return values[0]
    if any(isinstance(value, Unknown) for value in values):
        return Unknown()
    if len(currents) == len(values):
        return _add_currents(reader, path, currents)
    if len(events) == len(values):
        return reader.merge_events(events, path)
    fix = "Give each of them its own LinearTorch, or add after the neurons."
    return reader.refuse("addition", path, "weighted currents and events", "values of one kind", fix)


@read_module.register(Concat)
def _read_concat(module: Concat, reader: Reader, path: str, values: Values) -> Value:
    if module.dim not in (-1, 2):
        fix = "Join values along their channels (dim=-1)."
        return reader.refuse("concatenation", path, f"dim {module.dim}", "channels", fix)
    if any(isinstance(value, Unknown) for value in values):
        return Unknown()
    events = [value for value in values if isinstance(value, Events)]
    if len(events) == len(values):
        return Events(tuple(segment for value in events for segment in value.segments))
    currents = [value for value in values if isinstance(value, Current)]
    if len(currents) == len(values):
        return _concat_currents(currents)
    fix = "Put a LinearTorch behind each of them, or behind their concatenation."
    return reader.refuse("concatenation", path, "weighted currents and events", "values of one kind", fix)


@read_module.register(LinearTorch)
def _read_linear(module: LinearTorch, reader: Reader, path: str, values: Values) -> Value:
    return _weigh(reader, path, values, module.weight, module.bias)


@read_module.register(nn.Linear)
def _read_torch_linear(module: nn.Linear, reader: Reader, path: str, values: Values) -> Value:
    return _weigh(reader, path, values, module.weight.T, module.bias)


@read_module.register(LIFTorch)
def _read_lif(module: LIFTorch, reader: Reader, path: str, values: Values) -> Value:
    return _read_neurons(module, reader, path, values, _full(module.beta, _layout(module)))


@read_module.register(aLIFTorch)
def _read_adaptive(module: aLIFTorch, reader: Reader, path: str, values: Values) -> Value:
    """Adaptation is a second synapse on which each neuron's own events arrive, weighted."""
    neurons = int(module.size_out or 0)
    gamma = torch.exp(-float(module.dt) / module.tau_ahp.detach().to(torch.float64))
    decays = np.concatenate([_full(module.beta, _layout(module)), _full(gamma, (neurons,))[:, None]], axis=1)
    events = _read_neurons(module, reader, path, values, decays)
    node = reader.circuit.nodes[-1]
    weights = np.zeros((neurons, neurons, node.synapses))
    weights[range(neurons), range(neurons), -1] = _full(module.w_ahp, (neurons,))
    own = ((node.index, 1),)
    reader.circuit.projections.append(Projection(own, node.index, weights, f"{path}.w_ahp", recurrent=True))
    return events


def _read_neurons(
    module: LIFBaseTorch, reader: Reader, path: str, values: Values, decay_syn: np.ndarray
) -> Value:
    neurons, inputs = _layout(module)
    node = Node(
        index=len(reader.circuit.nodes),
        path=path,
        module=module,
        size=neurons,
        synapses=decay_syn.shape[1],
        decay_mem=_full(module.alpha, (neurons,)),
        decay_syn=decay_syn,
        threshold=_full(module.threshold, (neurons,)),
        bias=_full(module.bias, (neurons,)),
        synaptic_bias=np.zeros_like(decay_syn),
        dt=float(module.dt),
        max_spikes=float(torch.as_tensor(module.max_spikes_per_dt).max()),
        hop_delay=bool(module.hop_delay),
    )
    events = reader.add_node(node)
    _connect(reader, node, inputs, values)
    if module.w_rec is not None:
        weights = np.zeros((neurons, neurons, node.synapses))
        weights[:, :, :inputs] = _numbers(module.w_rec).reshape(neurons, neurons, inputs)
        own = ((node.index, 1),)
        recurrent = Projection(own, node.index, weights, f"{path}.w_rec", recurrent=True)
        reader.circuit.projections.append(recurrent)
    if bool((torch.as_tensor(module.noise_std) > 0).any()):
        reader.circuit.notes.append(f"{path}: the membrane noise of training is not on the chip.")
    return events


def _connect(reader: Reader, node: Node, inputs: int, values: Values) -> None:
    value = values[0] if len(values) == 1 else Unknown()
    if len(values) != 1:
        reader.refuse("module", node.path, f"{len(values)} inputs", 1, "Add or concatenate them first.")
    elif isinstance(value, Events):
        fix = "Put a LinearTorch in front of these neurons: events reach neurons through weights."
        reader.refuse("neurons need weights", node.path, "events", "weighted currents", fix)
    elif isinstance(value, Current) and value.width != node.size * inputs:
        fix = "Give the LinearTorch one output channel for each synapse of each neuron."
        reader.refuse("layer sizes", node.path, value.width, node.size * inputs, fix)
    elif isinstance(value, Current):
        reader.project(value, node)


def _weigh(reader: Reader, path: str, values: Values, weight: Tensor, bias: Tensor | None) -> Value:
    if len(values) != 1:
        return reader.refuse("module", path, f"{len(values)} inputs", 1, "Add or concatenate them first.")
    value, columns = values[0], weight.shape[1]
    if isinstance(value, Unknown):
        return Current((), np.zeros(columns))  # a current all the same: later rules can still be checked
    if isinstance(value, Current):
        fix = "Merge the two layers into one (the product of their weights), or put LIFTorch between them."
        return reader.refuse("consecutive weights", path, "weights on weights", "neurons between", fix)
    constant = np.zeros(columns) if bias is None else _full(bias, (columns,))
    return reader.weigh(value, _numbers(weight), constant, path)


def _add_currents(reader: Reader, path: str, currents: list[Current]) -> Value:
    widths = [current.width for current in currents]
    if len(set(widths)) > 1:
        sizes = " and ".join(map(str, widths))
        fix = "Give the layers that are added the same number of outputs."
        return reader.refuse("layer sizes", path, sizes, "equal sizes", fix)
    bias = np.sum([current.bias for current in currents], axis=0)
    return Current(tuple(term for current in currents for term in current.terms), bias)


def _concat_currents(currents: list[Current]) -> Current:
    width = sum(current.width for current in currents)
    terms, start = [], 0
    for current in currents:
        for term in current.terms:
            weights = np.zeros((term.weights.shape[0], width))
            weights[:, start : start + current.width] = term.weights
            terms.append(Term(term.counts, weights, term.path))
        start += current.width
    return Current(tuple(terms), np.concatenate([current.bias for current in currents]))


def _wrong_arity(module: nn.Module, reader: Reader, path: str, values: Values) -> Unknown:
    value = f"{type(module).__name__} of {len(values)} values"
    return reader.refuse("module", path, value, "one value", "Add or concatenate them first.")


def _layout(module: LIFBaseTorch) -> tuple[int, int]:
    """Return the numbers of neurons and of synapses of each."""
    size_in, size_out = int(module.size_in or 0), int(module.size_out or 0)
    return size_out, size_in // size_out


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().to(torch.float64).numpy()


def _full(values: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    return np.array(np.broadcast_to(_numbers(torch.as_tensor(values)), shape))
