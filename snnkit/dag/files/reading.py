"""Reading a graph: nothing in a file is run, and only what is listed can be made from it."""

from pathlib import Path
from typing import Any

from torch import nn

from snnkit.utilities.errors import FileFormatError, SnnkitError, unknown_key_message
from snnkit.utilities.files import read_json

from ..dag_module import DagModule
from ..functions import FreeTensor, Function
from ..operations import Add, Concat, Identity, Select
from ..signatures import Signature
from .formats import format_named, known_formats
from .layers import make_layer, place_tensors
from .tensors import TensorReader
from .values import decode
from .writing import FORMAT, GRAPH_FILE, VERSION, document_digest

__all__ = ["load_graph"]

_MAX_VERTICES, _MAX_DEPTH = 1_000_000, 64
"""Of nested graphs: forty, each of the one before twice, would be more than any machine runs."""

_JOINS = {"Add": Add, "Identity": Identity}
_NUMBERED_JOINS = {"Concat": Concat, "Select": Select}


def load_graph(path: str | Path) -> DagModule:
    """Read a graph from the folder ``path``.

    Only layers of torch, functions of a fixed list, and modules of registered libraries are made; nothing is
    imported by name, and nothing is unpickled.

    Raises:
        FileFormatError: The files are missing, damaged, of another version, or hold something else.
    """
    folder = Path(path)
    document = read_json(folder / GRAPH_FILE)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileFormatError(f'{folder / GRAPH_FILE} is no graph (it lacks "format": {FORMAT!r}).')
    if document.get("version") != VERSION:
        raise FileFormatError(
            f"{folder / GRAPH_FILE} has version {document.get('version')!r} of its format; "
            f"this release reads version {VERSION}."
        )
    if "sha256" not in document:
        raise FileFormatError(
            f"{folder / GRAPH_FILE} has no checksum: it is from before graph files had one, and is not read. "
            "Write it again: build_from_unstructured_module(model).save(path)."
        )
    if document["sha256"] != document_digest(document):
        raise FileFormatError(f"{folder / GRAPH_FILE} is damaged: its content does not match its checksum.")
    tensors = TensorReader(folder, document.get("weights"), document.get("tensors"))
    try:
        return _Reader(tensors, _list(document, "modules")).graph(_dict(document, "graph"))
    except FileFormatError as error:
        raise FileFormatError(f"{folder / GRAPH_FILE}: {error}") from None
    except (SnnkitError, TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise FileFormatError(f"{folder / GRAPH_FILE} is damaged: {type(error).__name__}: {error}") from None


class _Reader:
    def __init__(self, tensors: TensorReader, modules: list[Any]) -> None:
        self.tensors = tensors
        self.contents = modules
        self._made: list[nn.Module] = []
        self._extents: list[tuple[int, int]] = []
        for content in modules:
            # In order: a nested graph refers to modules before it.
            self._extents.append(self._extent(content))
            self._made.append(self._make(content))

    def _extent(self, content: Any) -> tuple[int, int]:
        """Return how many vertices a module stands for, nested ones as often as they run, and how deep."""
        if not isinstance(content, dict) or "graph" not in content:
            return 1, 0
        numbers = [vertex.get("module") for vertex in _list(_dict(content, "graph"), "vertices")]
        inner = [self._extents[n] for n in numbers if type(n) is int and 0 <= n < len(self._extents)]
        count = 1 + sum(extent[0] for extent in inner)
        depth = 1 + max((extent[1] for extent in inner), default=0)
        if count > _MAX_VERTICES or depth > _MAX_DEPTH:
            raise FileFormatError(
                f"Graphs are nested {depth} deep and run {count:,} vertices; the limits are {_MAX_DEPTH} and "
                f"{_MAX_VERTICES:,}."
            )
        return count, depth

    def graph(self, content: dict[str, Any]) -> DagModule:
        graph = _graph_class(content.get("class"))(_text(content, "name"))
        graph.set_options(_dict(content, "options"))
        for entry in _list(content, "vertices"):
            self._add(graph, entry)
        graph.set_output(decode(content.get("output"), graph.vertices))
        graph.signature = _signature(content.get("signature"))
        if graph.signature is not None:
            names = [vertex.name for vertex in graph.input_vertices]
            if list(graph.signature.inputs) != names:
                raise FileFormatError(f"The signature is of {list(graph.signature.inputs)}, not {names}.")
        graph.training = bool(content.get("training"))
        return graph

    def _add(self, graph: DagModule, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise FileFormatError(f"{str(entry)[:80]!r} is no vertex.")
        if "input" in entry:
            graph.add_input_vertex(_text(entry, "input"))
            return
        number = entry.get("module")
        if type(number) is not int or not 0 <= number < len(self._made):
            raise FileFormatError(
                f"A vertex holds module {number!r}, of {len(self._made)} that are known by then."
            )
        vertices = graph.vertices
        args = [decode(argument, vertices) for argument in _list(entry, "args")]
        named = entry.get("kwargs", {})
        if not isinstance(named, dict):
            raise FileFormatError(f"{str(named)[:80]!r} are no arguments by name.")
        kwargs = {name: decode(value, vertices) for name, value in named.items()}
        graph.add_call(_text(entry, "name"), self._made[number], args, kwargs)

    def _make(self, content: Any) -> nn.Module:
        if not isinstance(content, dict):
            raise FileFormatError(f"{str(content)[:80]!r} is no module.")
        if "graph" in content:
            return self.graph(_dict(content, "graph"))
        if "function" in content:
            in_place = content.get("in_place") is True
            return Function(_text(content, "function"), in_place, _text(content, "when"))
        if "tensor" in content:
            return FreeTensor(self.tensors.get(content["tensor"]), content.get("persistent") is not False)
        if "join" in content:
            return _join(_text(content, "join"), content.get("number"))
        return self._layer(content)

    def _layer(self, content: dict[str, Any]) -> nn.Module:
        tensors = {name: self.tensors.get(key) for name, key in _dict(content, "tensors").items()}
        if "registered" in content:
            name = _text(content, "registered")
            entry = format_named(name)
            if entry is None:
                raise FileFormatError(unknown_key_message("kind of module", name, known_formats()))
            module = entry.read(content.get("config"), tensors)
        else:
            name = _text(content, "layer")
            config = {key: decode(value, ()) for key, value in _dict(content, "config").items()}
            if type(layers := config.get("num_layers", 1)) is not int or layers > max(1, len(tensors)):
                # Each has tensors of its own: no use in making what cannot be filled.
                raise FileFormatError(f"{name} has {len(tensors)} tensors, too few for {layers!r} layers.")
            module = make_layer(name, config)
            place_tensors(module, tensors, name)
        return nn.Module.train(module, bool(content.get("training")))


def _graph_class(name: Any) -> type[DagModule]:
    classes = DagModule.classes()
    if name not in classes:
        raise FileFormatError(unknown_key_message("class of graph", str(name), classes))
    return classes[name]


def _join(name: str, number: Any) -> nn.Module:
    if name in _JOINS:
        return _JOINS[name]()
    if name in _NUMBERED_JOINS and type(number) is int:
        return _NUMBERED_JOINS[name](number)
    raise FileFormatError(f"{name}({number!r}) joins no values.")


def _signature(content: Any) -> Signature | None:
    if content is None:
        return None
    if not isinstance(content, dict):
        raise FileFormatError(f"{str(content)[:80]!r} is no signature.")
    inputs = {name: decode(spec, ()) for name, spec in _dict(content, "inputs").items()}
    mode = content.get("training")
    if mode is not None and not isinstance(mode, bool):
        raise FileFormatError(f"{mode!r} is no mode.")
    return Signature(inputs, _text(content, "why_fixed"), mode, _text(content, "why_mode"))


def _typed(content: dict[str, Any], key: str, kind: type) -> Any:
    value = content.get(key)
    if not isinstance(value, kind):
        raise FileFormatError(f"{key!r} must be a {kind.__name__}, not {str(value)[:80]!r}.")
    return value


def _list(content: dict[str, Any], key: str) -> list[Any]:
    return _typed(content, key, list)


def _dict(content: dict[str, Any], key: str) -> dict[str, Any]:
    return _typed(content, key, dict)


def _text(content: dict[str, Any], key: str) -> str:
    return _typed(content, key, str)
