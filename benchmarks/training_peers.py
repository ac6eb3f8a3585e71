"""Training steps of the benchmark's nets in other libraries.

Linear layers are applied to the whole sequence, and only the neurons loop over time, with constants that are
trained where the library can. Recurrent neurons get ``input + spikes @ w`` in every step.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from training_cases import Case, inputs, pairs, recurrent_weights, weights

__all__ = ["Step", "layered_step", "peers", "rockpool_like", "step_of"]

Step = Callable[[], Any]


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


def rockpool_step(case: Case) -> Step:
    """Rockpool's LIFTorch."""
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFTorch, LinearTorch
    from rockpool.nn.networks import SynNet

    net = rockpool_like(case, Sequential, LinearTorch, LIFTorch, SynNet)
    return step_of(net, inputs(case), list(net.parameters().astorch()))


def lif_jax_step(case: Case) -> Step:
    """Rockpool's LIFJax, compiled."""
    import jax
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFJax, LinearJax

    if case.recurrent:
        net = LIFJax(case.sizes[0], has_rec=True, w_rec=recurrent_weights(case).numpy())
    else:
        layers = []
        for shape, weight in zip(pairs(case.sizes), weights(case), strict=True):
            layers += [LinearJax(shape, weight=weight.numpy(), has_bias=False), LIFJax(shape[1])]
        net = Sequential(*layers)
    data = inputs(case).numpy()

    def loss(parameters: dict, x: np.ndarray) -> Any:
        return net.set_attributes(parameters)(x)[0].sum()

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    parameters = net.parameters()
    return lambda: jax.block_until_ready(gradient(parameters, data))


def layered_step(case: Case, neurons: Callable[[int], nn.Module], time_first: bool) -> Step:
    """Return a step of linear layers with neurons that take a whole sequence."""
    shapes, values = (pairs(case.sizes), weights(case)) if not case.recurrent else ([], [])
    modules = nn.ModuleList()
    for shape, weight in zip(shapes, values, strict=True):
        linear = nn.Linear(*shape, bias=False)
        linear.weight.data = weight.T.contiguous()
        modules.extend([linear, neurons(shape[1])])
    if case.recurrent:
        modules.append(neurons(case.sizes[0]))
    data = inputs(case).transpose(0, 1).contiguous() if time_first else inputs(case)
    data.requires_grad_()

    def step() -> None:
        modules.zero_grad()
        data.grad = None
        x = data
        for module in modules:
            x = module(x)
        x.sum().backward()

    return step


class Stepwise(nn.Module):
    """Neurons of a library that knows single steps only, ``run(x, state) -> spikes, state``."""

    def __init__(self, cell: nn.Module, run: Callable, start: Callable, w_rec: Tensor | None) -> None:
        super().__init__()
        self.cell, self.run, self.start = cell, run, start
        self.w_rec = None if w_rec is None else nn.Parameter(w_rec)

    def forward(self, data: Tensor) -> Tensor:
        """Loop over ``(time, batch, channels)``."""
        state, outputs = self.start(), []
        spikes = torch.zeros_like(data[0])
        for current in data.unbind(0):
            driven = current if self.w_rec is None else current + spikes @ self.w_rec
            spikes, state = self.run(driven, state)
            outputs.append(spikes)
        return torch.stack(outputs)


class Sequence(nn.Module):
    """Neurons that take a whole sequence: reset before it, and what they return beside spikes dropped."""

    def __init__(self, module: nn.Module, reset: Callable | None = None) -> None:
        super().__init__()
        self.module, self.reset = module, reset

    def forward(self, data: Tensor) -> Tensor:
        """Run them."""
        if self.reset is not None:
            self.reset(self.module)
        output = self.module(data)
        return output[0] if isinstance(output, tuple) else output


def _feedback(case: Case) -> Tensor | None:
    return recurrent_weights(case) if case.recurrent else None


def snntorch_step(case: Case) -> Step:
    """snnTorch's Synaptic neurons."""
    import snntorch

    def neurons(_n: int) -> nn.Module:
        cell = snntorch.Synaptic(alpha=0.95, beta=0.95, learn_alpha=True, learn_beta=True)

        def run(x: Tensor, state: tuple) -> tuple:
            spikes, *state = cell(x, *state)
            return spikes, state

        return Stepwise(cell, run, cell.init_synaptic, _feedback(case))

    return layered_step(case, neurons, time_first=True)


def norse_step(case: Case) -> Step:
    """norse's LIF neurons."""
    import norse.torch as norse

    def neurons(_n: int) -> nn.Module:
        if not case.recurrent:
            return Sequence(norse.LIF())
        cell = norse.LIFCell()
        return Stepwise(cell, cell, lambda: None, _feedback(case))

    return layered_step(case, neurons, time_first=True)


def spikingjelly_step(case: Case) -> Step:
    """spikingjelly's LIFNode on torch, which has no synapse."""
    from spikingjelly.activation_based import functional, layer, neuron

    def neurons(n: int) -> nn.Module:
        if not case.recurrent:
            node = neuron.LIFNode(tau=20.0, step_mode="m", detach_reset=False)
            return Sequence(node, functional.reset_net)
        node = neuron.LIFNode(tau=20.0, step_mode="s", detach_reset=False)
        looped = layer.LinearRecurrentContainer(node, n, n, bias=False, step_mode="m")
        return Sequence(looped, functional.reset_net)

    return layered_step(case, neurons, time_first=True)


def sinabs_step(case: Case) -> Step:
    """sinabs' LIF neurons."""
    from sinabs.layers import LIF, LIFRecurrent

    def neurons(n: int) -> nn.Module:
        constants: dict[str, Any] = {"tau_mem": 20.0, "tau_syn": 20.0, "norm_input": False}
        if case.recurrent:
            loop = nn.Linear(n, n, bias=False)
            loop.weight.data = recurrent_weights(case).T.contiguous()
            return Sequence(LIFRecurrent(rec_connect=loop, **constants), lambda layer: layer.reset_states())
        return Sequence(LIF(**constants), lambda layer: layer.reset_states())

    return layered_step(case, neurons, time_first=False)


def peers(case: Case) -> dict[str, Callable[[], Step]]:
    """List the libraries that are installed and have such a net."""
    found: dict[str, tuple[str, Callable[[Case], Step]]] = {"rockpool LIFTorch": ("rockpool", rockpool_step)}
    if not case.synnet:
        found |= {
            "rockpool LIFJax": ("jax", lif_jax_step),
            "snntorch": ("snntorch", snntorch_step),
            "spikingjelly": ("spikingjelly", spikingjelly_step),
            "norse": ("norse", norse_step),
            "sinabs": ("sinabs", sinabs_step),
        }
    return {
        name: partial(build, case)
        for name, (library, build) in found.items()
        if importlib.util.find_spec(library) is not None
    }
