"""The one graph of a model: vertices that hold modules, read by mapper, passes and exporters alike."""

from .dag_module import DagModule
from .errors import GraphError
from .operations import Add, Concat, Identity, Select
from .registry import call_module, register_call
from .vertex import InnerVertex, InputVertex, Vertex

__all__ = [
    "Add",
    "Concat",
    "DagModule",
    "GraphError",
    "Identity",
    "InnerVertex",
    "InputVertex",
    "Select",
    "Vertex",
    "call_module",
    "register_call",
]
