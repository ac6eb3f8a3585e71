"""Ready edits of whole graphs; each returns a new graph and leaves the old one as it is."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..copying import share_graph
from ..dag_module import DagModule
from ..functions import FreeTensor
from ..shapes import value_shapes
from ..vertex import InnerVertex, Vertex
from .patterns import Kind, Match, Pattern, Rewriting, find, rewrite
from .vertices import insert_after

__all__ = ["ACTIVATIONS", "fuse_batch_norms", "insert_batch_norms", "swap", "swap_activations"]

ACTIVATIONS: tuple[Any, ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Hardswish, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink,
    nn.LogSigmoid, nn.Threshold,
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish",
    "hardswish", "hardtanh", "softplus", "softsign", "tanhshrink", "softshrink", "hardshrink", "logsigmoid",
    "threshold",
)  # fmt: skip
"""Activations between layers; sigmoid and tanh, which gates are made of, are not among them."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONVOLUTION_NAMES = ("conv1d", "conv2d", "conv3d")
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FUSING_TOLERANCE = 1e-4


def swap(
    graph: DagModule, kind: Kind | tuple[Kind, ...], make: Callable[[InnerVertex], nn.Module]
) -> Rewriting:
    """Put ``make(vertex)`` in the place of every vertex of a kind; it reads the same values, each once."""
    return rewrite(graph, Pattern(kind), lambda match: make(match.root))


def swap_activations(graph: DagModule, make: Callable[[], nn.Module]) -> Rewriting:
    """Put ``make()`` in the place of every activation (:data:`ACTIVATIONS`), layer or function alike.

    >>> swap_activations(graph, nn.GELU).graph  # doctest: +SKIP
    """
    return rewrite(graph, Pattern(ACTIVATIONS, Pattern()), lambda match: make())


def insert_batch_norms(graph: DagModule, inputs: tuple[Any, ...] = ()) -> Rewriting:
    """Insert a batch norm after every convolution that no batch norm reads.

    Args:
        graph: The graph.
        inputs: To find the number of channels of convolutions that are functions; see
            :func:`snnkit.dag.shapes.value_shapes`.
    """
    edited = share_graph(graph)
    places: list[str] = []
    shapes: dict[str, Any] | None = None
    for match in find(edited, Pattern((*_CONVOLUTIONS, *_CONVOLUTION_NAMES)), closed=False):
        vertex, path = match.root, match.path + match.root.name
        if any(_is_batch_norm(reader) for reader in _readers(edited, match)):
            continue
        if isinstance(vertex.module, _CONVOLUTIONS):
            channels, axes = vertex.module.out_channels, _CONVOLUTIONS.index(_class(vertex.module))
        else:
            shapes = shapes if shapes is not None else value_shapes(graph, inputs)
            channels, axes = shapes[path][1], _CONVOLUTION_NAMES.index(str(vertex.operation))
        like = next(nn.Module.parameters(edited), torch.empty(0))
        norm = _BATCH_NORMS[axes](channels, device=like.device, dtype=like.dtype).train(match.graph.training)
        insert_after(vertex, norm, match.graph.free_name(f"{vertex.name}_bn"))
        places.append(path)
    return Rewriting(edited, tuple(places), None)


def _class(module: nn.Module) -> Any:
    return next(cls for cls in _CONVOLUTIONS if isinstance(module, cls))


def _is_batch_norm(vertex: InnerVertex) -> bool:
    return isinstance(vertex.module, _BATCH_NORMS) or vertex.operation == "batch_norm"


def _readers(graph: DagModule, match: Match) -> list[InnerVertex]:
    """Return the vertices that read the match, also those inside a graph next to it."""
    pending: list[tuple[DagModule, Vertex]] = [(match.graph, match.root)]
    readers: list[InnerVertex] = []
    owners = _owners(graph)
    while pending:
        level, vertex = pending.pop()
        for reader in vertex.successors:
            nested = reader.module
            if isinstance(nested, DagModule):
                positions = [i for i, argument in enumerate(reader.args) if argument is vertex]
                pending += [(nested, nested.input_vertices[i]) for i in positions]
            else:
                readers.append(reader)
        if level.output is vertex and id(level) in owners:
            outer = owners[id(level)]
            assert isinstance(outer.dag_module, DagModule)
            pending.append((outer.dag_module, outer))
    return readers


def _owners(graph: DagModule) -> dict[int, InnerVertex]:
    inner = (vertex for _, vertex in graph.traverse_paths() if isinstance(vertex, InnerVertex))
    return {id(vertex.module): vertex for vertex in inner if isinstance(vertex.module, DagModule)}


def fuse_batch_norms(graph: DagModule, inputs: tuple[Any, ...] = ()) -> Rewriting:
    """Fold every batch norm behind a convolution or a linear layer into that layer, for evaluation.

    Layers that several vertices share, and layers that others read as well, stay. ``graph.flatten()`` first
    where norms stand in blocks of their own. The outputs are compared before and after.

    Raises:
        VerificationError: Outputs move by more than rounding explains (1e-4 of the largest).
    """
    shared = _shared_modules(graph)
    layers = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)
    names: list[tuple[InnerVertex, str]] = []

    def fusible(match: Match) -> bool:
        return match.path + match["layer"].name not in shared and not match["layer"].kwargs

    def fused(match: Match) -> Vertex | None:
        norm, layer = _norm_of(match["norm"]), match["layer"].module
        if norm is None or norm.running_mean is None:
            return None
        name = match.graph.free_name(f"{match['layer'].name}_fused")
        made = match.graph.add_call(name, _folded(layer, norm), match["layer"].args, before=match.root)
        names.append((made, match["layer"].name))
        return made

    pattern = Pattern((*_BATCH_NORMS, "batch_norm"), Pattern(layers, name="layer"), name="norm")
    done = rewrite(graph, pattern, fused, fusible, _FUSING_TOLERANCE, inputs=inputs)
    for made, name in names:
        assert made.dag_module is not None
        made.dag_module.rename(made, name)
    for level in done.graph.graphs():
        assert isinstance(level, DagModule)
        _drop_free_tensors(level)
    return done


def _folded(layer: Any, norm: Any) -> nn.Module:
    """Return a copy of a layer with a batch norm folded into its weights."""
    modes = layer.training, norm.training
    try:
        if isinstance(layer, nn.Linear):
            return fuse_linear_bn_eval(layer.eval(), norm.eval())
        return fuse_conv_bn_eval(layer.eval(), norm.eval(), transpose=isinstance(layer, _TRANSPOSED))
    finally:
        layer.training, norm.training = modes


def _shared_modules(graph: DagModule) -> set[str]:
    """Return the paths of vertices whose module or weights another vertex uses as well."""
    users: dict[int, list[str]] = {}
    for path, vertex in graph.traverse_paths():
        if isinstance(vertex, InnerVertex) and not isinstance(vertex.module, DagModule):
            for key in {id(vertex.module), *map(id, nn.Module.parameters(vertex.module))}:
                users.setdefault(key, []).append(path)
    return {path for paths in users.values() if len(paths) > 1 for path in paths}


def _norm_of(vertex: InnerVertex) -> Any:
    """Return the batch norm of a vertex as a layer; None if its numbers are not at hand."""
    if isinstance(vertex.module, _BATCH_NORMS):
        return vertex.module
    if vertex.kwargs.get("training") is True:
        return None
    names = ("running_mean", "running_var")
    given = {**dict(zip(names, vertex.args[1:3], strict=True)), **vertex.kwargs}
    tensors: dict[str, Tensor] = {}
    for name in (*names, "weight", "bias"):
        source = given.get(name)
        if source is None:
            continue
        if not isinstance(source, InnerVertex) or not isinstance(source.module, FreeTensor):
            return None
        tensors[name] = source.module.value
    if "running_mean" not in tensors:
        return None
    mean = tensors["running_mean"]
    norm = nn.BatchNorm2d(len(mean), eps=vertex.kwargs.get("eps", 1e-5)).to(mean).eval()
    with torch.no_grad():
        for name, tensor in tensors.items():
            getattr(norm, name).copy_(tensor)
    return norm


def _drop_free_tensors(graph: DagModule) -> None:
    for vertex in reversed(graph.inner_vertices):
        if (
            isinstance(vertex.module, FreeTensor)
            and not vertex.successors
            and vertex not in graph.output_vertices
        ):
            graph.remove_vertex(vertex)
