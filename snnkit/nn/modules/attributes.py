"""The record that a module keeps of each declared attribute, and the making and checking of its value."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from snnkit.parameters import (
    FixedInit,
    Parameter,
    ParameterBase,
    RP_Constant,
    State,
    as_constant_free,
    shape_of,
)
from snnkit.utilities.errors import ParameterError, ShapeError

__all__ = ["Attribute", "Kind", "attribute_of", "initial_value", "value_of"]

Kind = Literal["Parameter", "State", "SimulationParameter"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Attribute:
    """What a module knows of an attribute besides its value.

    ``shape`` is the shape declared; a state may for a time have a batch axis in front of it.
    """

    kind: Kind
    family: str | None
    init_func: Callable[[Shape], Any]
    shape: Shape
    permitted_shapes: tuple[Shape, ...]
    is_tensor: bool

    def check(self, where: str, value: Any) -> None:
        """Raise ShapeError unless ``value`` may stand in this attribute."""
        shape = shape_of(value)
        batched_state = self.kind == "State" and shape[1:] in self.permitted_shapes and len(shape) > 0
        if shape in self.permitted_shapes or batched_state:
            return
        options = " or ".join(str(shape) for shape in self.permitted_shapes)
        raise ShapeError(f"The new value assigned to {where} must be of shape {options} (got {shape}).")


def attribute_of(declaration: ParameterBase) -> Attribute:
    """Return the record for a declaration; a Parameter that holds a Constant is a simulation parameter."""
    kind: Kind = "SimulationParameter"
    if isinstance(declaration, State):
        kind = "State"
    elif isinstance(declaration, Parameter) and not declaration.is_constant:
        kind = "Parameter"
    numeric = isinstance(declaration, (Parameter, State)) or isinstance(declaration.data, Tensor)
    return Attribute(
        kind=kind,
        family=declaration.family,
        init_func=declaration.init_func,
        shape=declaration.shape,
        permitted_shapes=tuple(dict.fromkeys((declaration.shape, *declaration.permitted_shapes))),
        is_tensor=numeric,
    )


def _as_tensor(data: Any, like: Tensor | None, floating: bool) -> Tensor:
    """Copy ``data`` into a tensor; numbers that are no tensor yet get the default float type."""
    if isinstance(data, Tensor):
        tensor = as_constant_free(data).detach().clone()
    elif isinstance(data, np.ndarray):
        tensor = torch.from_numpy(np.array(data))
        tensor = tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
    else:
        tensor = torch.as_tensor(data)
    if floating and not (tensor.is_floating_point() or tensor.is_complex()):
        tensor = tensor.to(torch.get_default_dtype())
    return tensor if like is None else tensor.to(dtype=like.dtype, device=like.device)


def value_of(attribute: Attribute, data: Any, like: Tensor | None = None) -> Any:
    """Return ``data`` in the form in which the module stores it.

    Args:
        attribute: the record.
        data: a value of a permitted shape.
        like: the value so far; its dtype and device are kept.
    """
    if not attribute.is_tensor:
        return as_constant_free(data)
    if attribute.kind == "Parameter":
        if isinstance(data, torch.nn.Parameter):
            return data
        return torch.nn.Parameter(_as_tensor(data, like, floating=True))
    number = isinstance(data, (int, float)) and not isinstance(data, bool)
    return _as_tensor(data, like, floating=number)


def initial_value(attribute: Attribute, where: str) -> Any:
    """Run the initialiser for the shape declared."""
    value = attribute.init_func(attribute.shape)
    if isinstance(value, RP_Constant):
        value = as_constant_free(value)
    shape = shape_of(value)
    if attribute.is_tensor and shape != attribute.shape:
        if np.prod(shape) != np.prod(attribute.shape):
            raise ShapeError(
                f"The initialiser of {where} was asked for shape {attribute.shape}, "
                f"but returned shape {shape}."
            )
        value = value.reshape(attribute.shape)
    return value


class LostInitialiser:
    """Stands for a random initialiser that could not be pickled; using it is an error."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __call__(self, _shape: Shape) -> Any:
        raise ParameterError(
            f"reset_parameters(): {self.description} could not be pickled with its module. "
            "Build the module with a named function as initialiser, or load() the values into a new one."
        )


def same_values(values: Iterable[Any]) -> bool:
    """Say whether all the values are equal."""
    first, *rest = [torch.as_tensor(as_constant_free(value)) for value in values]
    return all(torch.equal(first, other) for other in rest)


def picklable_attribute(name: str, attribute: Attribute) -> Attribute:
    """Return a record that pickle can store.

    An initialiser that is a lambda is replaced: by the value that it returns if it returns the same
    value twice, else by one that tells of its loss when it is called.
    """
    import pickle
    from dataclasses import replace

    try:
        pickle.dumps(attribute.init_func)
    except (pickle.PicklingError, AttributeError, TypeError):
        with torch.random.fork_rng(devices=[]):
            values = [attribute.init_func(attribute.shape) for _ in range(2)]
        if same_values(values):
            return replace(attribute, init_func=FixedInit(as_constant_free(values[0])))
        lost = LostInitialiser(f"the initialiser of {name!r} ({attribute.init_func!r})")
        return replace(attribute, init_func=lost)
    return attribute
