"""A function as a module, so that a vertex can hold it."""

from typing import Any

from torch import Tensor, nn

from ..errors import GraphError
from .library import function_named

__all__ = ["FreeTensor", "Function"]


class Function(nn.Module):
    """One canonical function, whichever way the model wrote it.

    Args:
        operation: Its name in :data:`~snnkit.dag.functions.FUNCTIONS`.
        in_place: Whether it writes its result into its first argument, of which other values of the graph
            are views; where nothing else sees the difference, capture makes a function of it that does not.
        when: "training" or "evaluation" if the function is applied in that mode only; in the other one its
            value is its first argument.

    Raises:
        GraphError: There is no such function.
    """

    def __init__(self, operation: str, in_place: bool = False, when: str = "") -> None:
        super().__init__()
        if when not in ("", "training", "evaluation"):
            raise GraphError(f"A function is applied in training or in evaluation, not in {when!r}.")
        self.operation = operation
        self.in_place = in_place
        self.when = when
        self.compute = _in_place(operation) if in_place else function_named(operation).compute

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function of the arguments."""
        if self.when and self.training != (self.when == "training"):
            return args[0] if args else None
        return self.compute(*args, **kwargs)

    def extra_repr(self) -> str:
        """Show the name."""
        in_place = ", in_place=True" if self.in_place else ""
        return f"{self.operation}{in_place}{f', in {self.when} only' if self.when else ''}"

    def __getstate__(self) -> dict[str, Any]:
        # Builtins and closures cannot all be copied or pickled; the name says it all.
        return {key: value for key, value in self.__dict__.items() if key != "compute"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        name = self.operation
        self.compute = _in_place(name) if self.in_place else function_named(name).compute


class FreeTensor(nn.Module):
    """A parameter, buffer or constant that the model uses directly: the value of a vertex without inputs.

    Args:
        value: The tensor; a ``torch.nn.Parameter`` is a parameter of the graph as well.
        persistent: Whether a buffer is part of the ``state_dict``.
    """

    value: Tensor

    def __init__(self, value: Tensor, persistent: bool = True) -> None:
        super().__init__()
        if isinstance(value, nn.Parameter):
            self.value = value
        else:
            self.register_buffer("value", value, persistent)

    def forward(self) -> Tensor:
        """Return the tensor."""
        return self.value

    def extra_repr(self) -> str:
        """Show the shape."""
        return str(tuple(self.value.shape))


def _in_place(operation: str) -> Any:
    """Return the function that writes its result into its first argument."""
    function_named(operation)
    if operation == "index_assign":
        return _assign_item
    if operation == "assign":
        return function_named(operation).compute
    if operation == "uniform":
        return _uniform_into
    renamed = {"gaussian": "normal_", "to": None}.get(operation, f"{operation}_")
    method = getattr(Tensor, renamed, None) if renamed else None
    if method is not None:
        return method
    compute = function_named(operation).compute

    def write(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input.copy_(compute(input, *args, **kwargs))

    return write


def _assign_item(input: Tensor, index: Any, value: Any) -> Tensor:
    input[index] = value
    return input


def _uniform_into(input: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    # The method's own names are `from`, which Python cannot write, and `to`.
    return input.uniform_(low, high)
