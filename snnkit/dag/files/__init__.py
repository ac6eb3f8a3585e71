"""Graphs as files: JSON and safetensors, without code and without pickle."""

from .formats import Format, register_format
from .reading import load_graph
from .writing import save_graph

__all__ = ["Format", "load_graph", "register_format", "save_graph"]
