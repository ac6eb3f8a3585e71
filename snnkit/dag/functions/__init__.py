"""The functions that graphs hold besides modules, each under one name however a model spells it."""

from .canonical import Call, canonical
from .function import FreeTensor, Function
from .library import FACTORIES, FUNCTIONS, RANDOM, FunctionSpec, function_named

__all__ = [
    "FACTORIES",
    "FUNCTIONS",
    "RANDOM",
    "Call",
    "FreeTensor",
    "Function",
    "FunctionSpec",
    "canonical",
    "function_named",
]
