"""Running one operation of a tape on numbers of one's own, to learn what its function does."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnkit.dag.analysis.tape import Operation, Value

__all__ = ["run_on_numbers"]


def run_on_numbers(op: Operation, number: Callable[[Value], Tensor]) -> Any:
    """Return what an operation gives if each tensor it reads is ``number`` of it, on the CPU.

    Nothing of it is recorded, also inside a recording. Where it does not run, the result is None.
    """

    def replaced(given: Any) -> Any:
        if isinstance(given, Value):
            return number(given)
        if isinstance(given, list | tuple):
            return type(given)(replaced(item) for item in given)
        return torch.device("cpu") if isinstance(given, torch.device) else given

    # Inside a recording the mode of the recorder, and a default device, would still be active.
    with torch.utils._python_dispatch._disable_current_modes(), torch.no_grad(), torch.device("cpu"):
        arguments = {name: replaced(given) for name, given in op.arguments.items()}
        positional = [arguments.pop(a.name) for a in op.target._schema.arguments if not a.kwarg_only]
        try:
            return op.target(*positional, **arguments)
        except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError):
            return None
