"""The one graph of a model: captured from any torch module, read by mapper, passes and exporters alike."""

from .arguments import TRAINING, ByMode, leaves, map_leaves
from .capture import build_from_unstructured_module
from .channels import coupling
from .dag_module import DagModule
from .errors import CaptureError, GraphError, VerificationError
from .functions import FreeTensor, Function
from .operations import Add, Concat, Identity, Select
from .registry import call_module, register_call, register_example, register_reading
from .running import watching
from .signatures import Signature, TensorSpec
from .vertex import InnerVertex, InputVertex, Vertex

__all__ = [
    "TRAINING",
    "Add",
    "ByMode",
    "CaptureError",
    "Concat",
    "DagModule",
    "FreeTensor",
    "Function",
    "GraphError",
    "Identity",
    "InnerVertex",
    "InputVertex",
    "Select",
    "Signature",
    "TensorSpec",
    "VerificationError",
    "Vertex",
    "build_from_unstructured_module",
    "call_module",
    "coupling",
    "leaves",
    "map_leaves",
    "register_call",
    "register_example",
    "register_reading",
    "watching",
]
