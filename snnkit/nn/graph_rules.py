"""What the graph has to know of spiking modules: how they are called, read, and tried out."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag import DagModule
from snnkit.dag.registry import register_call, register_example, register_reading
from snnkit.dag.shapes import LayerRule, register_layer_rule
from snnkit.nn.modules.module import TorchModule
from snnkit.nn.modules.trees import children_of

__all__: list[str] = []

_ROCKPOOL = "rockpool.nn.modules.torch.torch_module.TorchModule"
_EXAMPLE_BATCH, _EXAMPLE_STEPS, _EXAMPLE_RATE = 2, 20, 0.3


def _read(module: nn.Module) -> DagModule | bool:
    """Return the graph of a network that knows it; True for neurons, weights and other single modules."""
    assert isinstance(module, TorchModule)
    if type(module).as_graph is TorchModule.as_graph:
        # Neurons are one vertex with their state; a network written by hand is recorded inside.
        return not any(True for _ in children_of(module))
    return module.as_graph()


def _read_rockpool(module: nn.Module) -> bool:
    return not any(True for _ in module.children())


def _example(module: nn.Module) -> tuple[Tensor, ...] | None:
    """Return random events ``(batch, time, size_in)``."""
    assert isinstance(module, TorchModule)
    if module.size_in is None:
        return None
    shape = (_EXAMPLE_BATCH, _EXAMPLE_STEPS, module.size_in)
    return ((torch.rand(shape, generator=torch.Generator().manual_seed(0)) < _EXAMPLE_RATE).float(),)


def _output_of(module: Any, data: Tensor) -> Tensor:
    """Return the output alone: inside a graph the state stays in the module."""
    return module.evolve(data)[0]


register_call(TorchModule, _output_of)
register_reading(TorchModule, _read)
register_example(TorchModule, _example)
# Rockpool's modules keep the same contract, where it is installed.
register_call(_ROCKPOOL, lambda module, data: module(data)[0])
register_reading(_ROCKPOOL, _read_rockpool)


def _output_shape(module: TorchModule, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], module.size_out or shape[-1])


def _macs(module: TorchModule, shape: tuple[int, ...]) -> int:
    """Return the products of weight matrices, feed-forward or recurrent, over all steps."""
    matrices = [module._parameters.get(name) for name in ("weight", "w_rec")]
    steps = math.prod(shape[:-1])
    return steps * sum(matrix.numel() for matrix in matrices if matrix is not None)


def _is_spiking(module: TorchModule) -> bool:
    return module.spiking_output and "weight" not in module._parameters


register_layer_rule(TorchModule, LayerRule(_output_shape, _macs, _is_spiking))
