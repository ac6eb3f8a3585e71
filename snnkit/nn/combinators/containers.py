"""What the combinators share: naming, checking, calling and drawing a chain of modules."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from snnkit.nn.modules.module import TorchModule
from snnkit.utilities.errors import ConfigurationError, ShapeError

if TYPE_CHECKING:
    from snnkit.dag import DagModule, Vertex

__all__ = [
    "add_child_vertex",
    "check_neighbours",
    "evolve_child",
    "keep_record",
    "named_modules",
    "refuse_keywords",
    "sizes",
]


def named_modules(kind: str, modules: tuple[Any, ...], minimum: int = 1) -> dict[str, nn.Module]:
    """Name the modules given to a combinator ``"{position}_{Class}"``; a mapping brings its own names."""
    named: dict[str, nn.Module] = {}
    for position, entry in enumerate(modules):
        if isinstance(entry, Mapping) and position == 0:
            named.update(entry)
        else:
            named[f"{position}_{type(entry).__name__}"] = entry
    for name, module in named.items():
        if not isinstance(module, nn.Module):
            raise TypeError(f"{kind}: {name!r} is no module but {type(module).__name__}.")
    if len(named) < minimum:
        raise ConfigurationError(f"{kind} needs at least {minimum} module(s), and was given {len(named)}.")
    return named


def refuse_keywords(kind: str, keywords: Mapping[str, Any]) -> None:
    """Raise for keyword arguments: what a combinator is follows from its modules."""
    for name in keywords:
        article = "an" if name[:1] in "aeiou" else "a"
        raise ConfigurationError(
            f"You may not provide {article} `{name}` argument when building a {kind} module. "
            "It follows from the modules."
        )


def sizes(module: nn.Module) -> tuple[int | None, int | None]:
    """Return the numbers of input and output channels; None where a plain torch module does not tell."""
    return (module.size_in, module.size_out) if isinstance(module, TorchModule) else (None, None)


def check_neighbours(modules: Mapping[str, nn.Module]) -> None:
    """Raise ShapeError unless each module takes as many channels as the one before gives."""
    chain = list(modules.values())
    for position, (first, second) in enumerate(pairwise(chain)):
        given, taken = sizes(first)[1], sizes(second)[0]
        if given is not None and taken is not None and given != taken:
            raise ShapeError(
                f"The output of submodule {position} ({type(first).__name__}) does not match the input shape "
                f"of submodule {position + 1} ({type(second).__name__}): {given} ≠ {taken}"
            )


def evolve_child(child: nn.Module, data: Tensor, record: bool) -> tuple[Tensor, dict[str, Any]]:
    """Call a child, ours or plain torch's; return its output and its recordings."""
    if isinstance(child, TorchModule):
        if type(child).evolve is TorchModule.evolve:
            return child._run(data, record)
        output, _, recorded = child.evolve(data, record)
        return output, recorded
    output = child(data)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{type(child).__name__} returns {type(output).__name__}, but a submodule must return one "
            "tensor. Wrap it in a module whose forward() does."
        )
    return output, {}


def keep_record(parent: TorchModule, name: str, recorded: dict[str, Any], output: Tensor) -> None:
    """Put a child's recordings and its output into the parent's record, if it keeps one."""
    if parent._record:
        parent._record_dict[name] = recorded
        parent._record_dict[f"{name}_output"] = output


def add_child_vertex(graph: "DagModule", name: str, child: nn.Module, source: "Vertex") -> "Vertex":
    """Add a child to a graph: the child itself, or its own graph if it consists of several vertices."""
    if isinstance(child, TorchModule):
        own_graph = child.as_graph()
        inner = own_graph.inner_vertices
        is_leaf = len(inner) == 1 and inner[0].module is child
        return graph.add_vertex(name, child if is_leaf else own_graph, [source])
    return graph.add_vertex(name, child, [source])
