"""Declarations of what a module holds: parameters, states and simulation parameters.

A module declares an attribute by plain assignment, ``self.weight = Parameter(...)``. The attribute
then *is* the value; the declaration (family, initialiser, permitted shapes) stays in the module's
registry, where ``parameters("weights")`` and ``reset_state()`` find it.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from snnkit.utilities.errors import ParameterError, ShapeError

__all__ = [
    "Constant",
    "FixedInit",
    "Parameter",
    "ParameterBase",
    "RP_Constant",
    "SimulationParameter",
    "State",
    "as_constant_free",
    "canonical_family",
    "family_matches",
]

Shape = tuple[int, ...]
InitFunction = Callable[[Shape], Any]

# LinearTorch calls its family "biases", the LIF family "bias". Both names select both.
_FAMILY_SYNONYMS = {"bias": "biases"}


def canonical_family(family: str) -> str:
    """Return the name under which families are compared (``"bias"`` and ``"biases"`` are one)."""
    return _FAMILY_SYNONYMS.get(family, family)


def family_matches(family: str | None, wanted: str | Sequence[str] | None) -> bool:
    """Say whether ``family`` is selected by ``wanted``: one name, several names, or None for all."""
    if wanted is None:
        return True
    if family is None:
        return False
    names = (wanted,) if isinstance(wanted, str) else wanted
    return canonical_family(family) in {canonical_family(name) for name in names}


class RP_Constant:  # noqa: N801 - Rockpool's public name
    """Mark of values that :func:`Constant` made."""


class _ConstantFloat(float, RP_Constant):
    pass


class _ConstantInt(int, RP_Constant):
    pass


class _ConstantStr(str, RP_Constant):
    __slots__ = ()


class _ConstantList(list, RP_Constant):
    pass


class _ConstantTuple(tuple, RP_Constant):
    __slots__ = ()


class _ConstantArray(np.ndarray, RP_Constant):
    pass


class _ConstantTensor(torch.Tensor, RP_Constant):
    def __deepcopy__(self, memo: dict[int, Any]) -> "_ConstantTensor":
        # torch copies subclasses only if new_empty() returns them, which it does not for this one.
        memo[id(self)] = copied = self.as_subclass(torch.Tensor).clone().as_subclass(_ConstantTensor)
        return copied


_CONSTANT_KINDS: tuple[tuple[type, type], ...] = (
    (float, _ConstantFloat),
    (int, _ConstantInt),
    (str, _ConstantStr),
    (list, _ConstantList),
    (tuple, _ConstantTuple),
)


def Constant(obj: Any) -> Any:  # noqa: N802 - Rockpool's public name
    """Mark ``obj`` as not trainable, and return it as a value that still computes like itself.

    A module attribute declared as :class:`Parameter` becomes a :class:`SimulationParameter` when its
    data is such a constant. The object passed in is left as it is (a tensor or array shares its memory
    with the result).

    Args:
        obj: number, string, list, tuple, numpy array or torch tensor.

    Raises:
        TypeError: for kinds that cannot be marked (None, bool, functions).
    """
    if isinstance(obj, RP_Constant):
        return obj
    if isinstance(obj, torch.Tensor):
        return obj.detach().as_subclass(_ConstantTensor)
    if isinstance(obj, np.ndarray):
        return obj.view(_ConstantArray)
    if isinstance(obj, np.number):
        obj = obj.item()
    if not isinstance(obj, bool):
        for kind, constant_kind in _CONSTANT_KINDS:
            if isinstance(obj, kind):
                return constant_kind(obj)
    raise TypeError(
        f"Constant() cannot mark {obj!r} of type {type(obj).__name__}. "
        "Pass a number, string, list, tuple, numpy array or torch tensor."
    )


def as_constant_free(value: Any) -> Any:
    """Return ``value`` without the mark of :func:`Constant`, as its plain kind."""
    if isinstance(value, _ConstantTensor):
        return value.as_subclass(torch.Tensor)
    if isinstance(value, _ConstantArray):
        return value.view(np.ndarray)
    for kind, constant_kind in _CONSTANT_KINDS:
        if isinstance(value, constant_kind):
            return kind(value)
    return value


class FixedInit:
    """Initialiser that returns a copy of the value given at construction, whatever the shape asked."""

    def __init__(self, value: Any) -> None:
        self.value = _copy_value(value)

    def __call__(self, _shape: Shape) -> Any:
        """Return a copy of the value."""
        return _copy_value(self.value)

    def __repr__(self) -> str:
        return f"FixedInit({self.value!r})"


def _copy_value(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def shape_of(value: Any) -> Shape:
    """Return the shape of a tensor, array, nested list or scalar."""
    return tuple(value.shape) if isinstance(value, torch.Tensor) else tuple(np.shape(value))


def _one_shape(shape: Any) -> Shape:
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        return (int(shape),)
    if not isinstance(shape, tuple):
        raise TypeError(f"`shape` must be an integer, a tuple or a list of those, not {shape!r}.")
    for size in shape:
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool):
            raise TypeError(f"All elements of a shape must be integers; {shape!r} holds {size!r}.")
    return tuple(int(size) for size in shape)


def _permitted_shapes(shape: Any, data: Any) -> tuple[Shape, ...]:
    if shape is None:
        return (shape_of(data),)
    if isinstance(shape, list):
        if not shape:
            raise TypeError("`shape` must not be an empty list.")
        return tuple(_one_shape(entry) for entry in shape)
    return (_one_shape(shape),)


def _fit_shape(
    data: Any, permitted: tuple[Shape, ...], permit_reshape: bool, family: str | None = None
) -> Any:
    shape = shape_of(data)
    if shape in permitted:
        return data
    if permit_reshape:
        for candidate in permitted:
            if math.prod(candidate) == math.prod(shape):
                return data.reshape(candidate) if hasattr(data, "reshape") else np.reshape(data, candidate)
    options = " or ".join(str(candidate) for candidate in permitted)
    group = f" (family {family!r})" if family else ""
    raise ShapeError(
        f"The data given has shape {shape}, but this attribute{group} must be of shape {options}."
    )


def _cast(data: Any, cast_fn: Callable[[Any], Any] | None) -> Any:
    if cast_fn is None:
        return data
    # int() and float() of a one-element array are errors in numpy >= 2.4.
    if cast_fn in (int, float, bool) and hasattr(data, "item") and math.prod(shape_of(data)) == 1:
        return cast_fn(data.item())
    return cast_fn(data)


class ParameterBase:
    """A declaration of a module attribute: a Parameter, a State or a SimulationParameter.

    Args:
        data: concrete value; the initialiser then returns a copy of it.
        family: name of the group, such as ``"weights"``.
        init_func: ``init_func(shape) -> value``; required when no data is given.
        shape: int, tuple, or a list of permitted shapes of which the first is the default.
        permit_reshape: reshape data whose number of elements fits a permitted shape.
        cast_fn: applied to the value, once.

    Raises:
        ParameterError: neither data nor shape given; no way to initialise.
        ShapeError: data has none of the permitted shapes.
        TypeError: ``shape`` is no shape.
    """

    def __init__(  # noqa: PLR0917 - Rockpool's positional order
        self,
        data: Any = None,
        family: str | None = None,
        init_func: InitFunction | None = None,
        shape: Any = None,
        permit_reshape: bool = True,
        cast_fn: Callable[[Any], Any] | None = None,
    ) -> None:
        kind = type(self).__name__
        if data is None and shape is None:
            raise ParameterError(f"{kind}: one of `data` and `shape` must be given.")
        if init_func is not None and not callable(init_func):
            raise ParameterError(f"{kind}: `init_func` must be a callable of a shape, not {init_func!r}.")
        if data is None and init_func is None:
            raise ParameterError(f"{kind}: give `init_func` when no `data` is given.")
        self.is_constant = isinstance(data, RP_Constant)
        self.family = family
        self.cast_fn = cast_fn
        self.permitted_shapes = _permitted_shapes(shape, data)
        if data is None:
            assert init_func is not None
            self.data = self._initial_value(init_func)
            self.init_func = init_func
        else:
            fitted = _fit_shape(as_constant_free(data), self.permitted_shapes, permit_reshape, family)
            self.data = _cast(fitted, cast_fn)
            self.init_func = FixedInit(self.data)

    def _initial_value(self, init_func: InitFunction) -> Any:
        value = init_func(self.permitted_shapes[0])
        # A Constant may also come out of the initialiser.
        self.is_constant = self.is_constant or isinstance(value, RP_Constant)
        return _cast(_fit_shape(as_constant_free(value), self.permitted_shapes, True), self.cast_fn)

    @property
    def shape(self) -> Shape:
        """Shape of the value held."""
        return shape_of(self.data)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(data={self.data}, family={self.family!r}, "
            f"init_func={self.init_func}, shape={self.shape})"
        )


class Parameter(ParameterBase):
    """A trainable or tunable value: weights, time constants, thresholds."""


class State(ParameterBase):
    """A value that evolves with time, and that ``reset_state()`` sets back."""


class SimulationParameter(ParameterBase):
    """A value that the simulation needs but that is no tunable part of the model: the time step, noise."""
