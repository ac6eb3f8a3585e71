"""Arguments of vertices as JSON, and back: what is not listed here cannot be in a file."""

import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from snnkit.utilities.errors import FileFormatError

from ..arguments import ByMode, is_namedtuple
from ..errors import GraphError
from ..signatures import TensorSpec
from ..vertex import Vertex

__all__ = ["decode", "encode"]

_MAX_DEPTH = 64
_DTYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values()
           if isinstance(value, torch.dtype)}  # fmt: skip
_LAYOUTS = {str(value).removeprefix("torch."): value for value in (torch.strided, torch.sparse_coo)}
_FORMATS = {
    str(value).removeprefix("torch."): value
    for value in (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
}
_SPECIAL_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def encode(tree: Any, index_of: Mapping[str, int]) -> Any:
    """Return arguments as JSON.

    Args:
        tree: The arguments.
        index_of: Name of a vertex -> its position in the file.

    Raises:
        GraphError: They hold an object that files have no form for.
    """
    if tree is None or isinstance(tree, bool | int | str):
        return tree
    if isinstance(tree, float):
        return tree if math.isfinite(tree) else {"float": str(tree)}
    if type(tree) is list:
        return [encode(item, index_of) for item in tree]
    for kind, write in _WRITERS:
        if isinstance(tree, kind):
            name, content = write(tree, lambda part: encode(part, index_of))
            return {name: index_of[content] if name == "vertex" else content}
    raise GraphError(
        f"Files have no form for the {type(tree).__name__} {tree!r} in the arguments of a vertex."
    )


_Parts = Callable[[Any], Any]


def _mapping(value: Mapping[Any, Any], part: _Parts) -> tuple[str, Any]:
    name = "ordered" if type(value) is OrderedDict else "dict"
    return name, [[part(key), part(item)] for key, item in value.items()]


def _tuple(value: tuple[Any, ...], part: _Parts) -> tuple[str, Any]:
    items = [part(item) for item in value]
    if is_namedtuple(value):
        return "named", [type(value).__name__, list(type(value)._fields), items]  # type: ignore[attr-defined]
    return "tuple", items


def _spec(value: TensorSpec) -> list[Any]:
    return [list(value.shape), str(value.dtype).removeprefix("torch."), list(value.free)]


_WRITERS: tuple[tuple[Any, Callable[[Any, _Parts], tuple[str, Any]]], ...] = (
    (Vertex, lambda value, part: ("vertex", value.name)),
    (tuple, _tuple),
    (dict, _mapping),
    (slice, lambda value, part: ("slice", [part(value.start), part(value.stop), part(value.step)])),
    (type(Ellipsis), lambda value, part: ("ellipsis", True)),
    (complex, lambda value, part: ("complex", [part(value.real), part(value.imag)])),
    (torch.dtype, lambda value, part: ("dtype", str(value).removeprefix("torch."))),
    (torch.device, lambda value, part: ("device", str(value))),
    (torch.layout, lambda value, part: ("layout", str(value).removeprefix("torch."))),
    (torch.memory_format, lambda value, part: ("memory", str(value).removeprefix("torch."))),
    (ByMode, lambda value, part: ("mode", [part(value.training), part(value.evaluation)])),
    (TensorSpec, lambda value, part: ("spec", _spec(value))),
)


def decode(content: Any, vertices: Sequence[Vertex], depth: int = 0) -> Any:
    """Return the arguments that :func:`encode` wrote.

    Raises:
        FileFormatError: The content is nothing that :func:`encode` writes.
    """
    if depth > _MAX_DEPTH:
        raise FileFormatError(f"Arguments are nested more than {_MAX_DEPTH} deep.")
    if content is None or isinstance(content, bool | int | float | str):
        return content
    if isinstance(content, list):
        return [decode(item, vertices, depth + 1) for item in content]
    if not isinstance(content, dict) or len(content) != 1:
        raise FileFormatError(f"{str(content)[:80]!r} is no argument.")
    ((kind, inner),) = content.items()
    if kind == "vertex":
        if type(inner) is not int or not 0 <= inner < len(vertices):
            raise FileFormatError(
                f"A vertex reads number {inner!r}, of {len(vertices)} that are known by then."
            )
        return vertices[inner]
    if kind not in _READERS:
        raise FileFormatError(f"{kind!r} is no kind of argument; known are {', '.join(_READERS)}.")
    try:
        return _READERS[kind](inner, lambda part: decode(part, vertices, depth + 1))
    except FileFormatError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise FileFormatError(f"{str(content)[:80]} is no {kind}: {error}") from None


def _read_dict(inner: Any, part: _Parts) -> Any:
    return {part(key): part(value) for key, value in inner}


def _read_named(inner: Any, part: _Parts) -> Any:
    name, fields, items = inner
    if not all(isinstance(text, str) and text.isidentifier() for text in (name, *fields)):
        raise ValueError("a named tuple has identifiers for names")
    return namedtuple(name, fields)(*[part(item) for item in items])


def _read_spec(inner: Any, part: _Parts) -> TensorSpec:
    shape, dtype, free = inner
    sizes = [*shape, *free]
    if not all(type(size) is int and size >= 0 for size in sizes) or len(sizes) > _MAX_DEPTH:
        raise ValueError("sizes are numbers from 0")
    return TensorSpec(tuple(shape), _DTYPES[dtype], tuple(free))


_READERS: dict[str, Callable[[Any, _Parts], Any]] = {
    "tuple": lambda inner, part: tuple(part(item) for item in inner),
    "named": _read_named,
    "dict": _read_dict,
    "ordered": lambda inner, part: OrderedDict(_read_dict(inner, part)),
    "slice": lambda inner, part: slice(*(part(item) for item in inner)),
    "ellipsis": lambda inner, part: Ellipsis,
    "float": lambda inner, part: _SPECIAL_FLOATS[inner],
    "complex": lambda inner, part: complex(part(inner[0]), part(inner[1])),
    "dtype": lambda inner, part: _DTYPES[inner],
    "device": lambda inner, part: torch.device(inner),
    "layout": lambda inner, part: _LAYOUTS[inner],
    "memory": lambda inner, part: _FORMATS[inner],
    "mode": lambda inner, part: ByMode(part(inner[0]), part(inner[1])),
    "spec": _read_spec,
}
