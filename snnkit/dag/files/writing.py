"""Writing a graph: its structure as JSON, its tensors beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnkit import __version__
from snnkit.utilities.files import write_json

from ..dag_module import DagModule
from ..errors import GraphError
from ..functions import FreeTensor, Function
from ..operations import Add, Concat, Identity, Select
from ..vertex import InnerVertex
from .formats import format_of
from .layers import layer_config, layer_tensors
from .tensors import TensorWriter
from .values import encode

__all__ = ["FORMAT", "GRAPH_FILE", "VERSION", "document_digest", "save_graph"]

FORMAT = "snnkit.graph"
VERSION = 1
GRAPH_FILE = "graph.json"

Content = dict[str, Any]


def save_graph(graph: DagModule, path: str | Path) -> None:
    """Write a graph to the folder ``path``: ``graph.json``, and its tensors in a safetensors file.

    The files need neither the model's code nor its libraries to be read again, and hold no code: layers of
    torch and functions by name, numbers, and tensors. An earlier graph in the folder is replaced when the new
    one is complete.

    Raises:
        GraphError: The graph holds what files have no form for; the message says what and where.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise GraphError(f"{folder} is a file; a graph is saved to a folder.")
    writer = _Writer()
    content = writer.graph(graph, "")
    folder.mkdir(parents=True, exist_ok=True)
    weights = writer.tensors.write(folder)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "snnkit": __version__,
        "torch": str(torch.__version__),
        "weights": weights,
        "tensors": writer.tensors.entries,
        "modules": writer.modules,
        "graph": content,
    }
    document["sha256"] = document_digest(document)
    write_json(folder / GRAPH_FILE, document)
    for stale in folder.glob("weights-*.safetensors"):
        if stale.name != weights["file"]:
            stale.unlink()


def document_digest(document: Content) -> str:
    """Return the checksum of all that a graph's JSON says beside the checksum itself."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


class _Writer:
    def __init__(self) -> None:
        self.tensors = TensorWriter()
        self.modules: list[Content] = []
        self._positions: dict[int, int] = {}

    def graph(self, graph: DagModule, prefix: str) -> Content:
        if not graph._has_output:
            raise GraphError(f"{prefix or graph.title} has no output: call mark_as_output().")
        index_of: dict[str, int] = {}
        vertices = []
        for vertex in graph.vertices:
            vertices.append(self._vertex(vertex, index_of, prefix))
            index_of[vertex.name] = len(index_of)
        signature = graph.signature
        return {
            "class": type(graph).__name__,
            "name": graph.name,
            "training": graph.training,
            "options": graph.options(),
            "signature": None
            if signature is None
            else {
                "inputs": {name: encode(spec, {}) for name, spec in signature.inputs.items()},
                "why_fixed": signature.why_fixed,
                "training": signature.training,
                "why_mode": signature.why_mode,
            },
            "vertices": vertices,
            "output": self._encoded(graph.output, index_of, f"{prefix}output"),
        }

    def _vertex(self, vertex: Any, index_of: dict[str, int], prefix: str) -> Content:
        if not isinstance(vertex, InnerVertex):
            return {"input": vertex.name}
        place = prefix + vertex.name
        content: Content = {"name": vertex.name, "module": self._module(vertex.module, place)}
        content["args"] = [self._encoded(argument, index_of, place) for argument in vertex.args]
        if vertex.kwargs:
            content["kwargs"] = {
                name: self._encoded(value, index_of, place) for name, value in vertex.kwargs.items()
            }
        return content

    def _encoded(self, tree: Any, index_of: dict[str, int], place: str) -> Any:
        try:
            return encode(tree, index_of)
        except GraphError as error:
            raise GraphError(f"{place}: {error}") from None

    def _module(self, module: nn.Module, place: str) -> int:
        if id(module) not in self._positions:
            content = self._module_content(module, place)
            self._positions[id(module)] = len(self.modules)
            self.modules.append(content)
        return self._positions[id(module)]

    def _module_content(self, module: nn.Module, place: str) -> Content:
        simple = self._simple_content(module, place)
        if simple is not None:
            return simple
        entry = format_of(module)
        if entry is not None:
            config, named = entry.write(module)
            kind: Content = {"registered": entry.name, "config": config}
        else:
            name, arguments = layer_config(module, place)
            config = {key: self._encoded(value, {}, place) for key, value in arguments.items()}
            kind, named = {"layer": name, "config": config}, layer_tensors(module)
        tensors = {key: self.tensors.add(tensor, f"{place}.{key}") for key, tensor in named.items()}
        return {**kind, "tensors": tensors, "training": module.training}

    def _simple_content(self, module: nn.Module, place: str) -> Content | None:
        if isinstance(module, DagModule):
            return {"graph": self.graph(module, f"{place}.")}
        if isinstance(module, Function):
            return {"function": module.operation, "in_place": module.in_place, "when": module.when}
        if isinstance(module, FreeTensor):
            persistent = "value" not in module._non_persistent_buffers_set
            return {"tensor": self.tensors.add(module.value, place), "persistent": persistent}
        return _join_content(module)


def _join_content(module: nn.Module) -> Content | None:
    if type(module) in (Add, Identity):
        return {"join": type(module).__name__}
    if isinstance(module, Concat):
        return {"join": "Concat", "number": module.dim}
    return {"join": "Select", "number": module.index} if isinstance(module, Select) else None
