"""What the constructors of the neuron modules have in common: defaults, conversions and checks."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.functional import SpikeGeneration
from snnkit.nn.surrogates import PeriodicExponential, SpikeFunction, StepPWL
from snnkit.parameters import Constant, ParameterBase, SimulationParameter, as_constant_free, shape_of
from snnkit.utilities.errors import ParameterError, ShapeError

__all__ = [
    "Fill",
    "FloatVector",
    "as_number",
    "kaiming_uniform",
    "neuron_count",
    "neuron_layout",
    "real",
    "require_positive",
    "simulation_constant",
    "spike_function",
    "spike_generation",
    "time_step",
    "value_or_none",
]

FloatVector = float | Tensor | Any
"""A number, tensor, array or list; a :func:`~snnkit.parameters.Constant` of one; a declaration."""


@dataclass(frozen=True)
class Fill:
    """Initialiser that fills the shape with one value. An object, not a lambda: it can be pickled."""

    value: float

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of this shape."""
        return torch.full(shape, float(self.value))


def kaiming_uniform(shape: tuple[int, ...]) -> Tensor:
    """Draw from ``U(-sqrt(6 / shape[1]), sqrt(6 / shape[1]))``, the initialiser of recurrent weights."""
    return nn.init.kaiming_uniform_(torch.empty(shape))


def real(value: Any) -> Tensor:
    """Return ``value`` as a tensor of the default float type; a parameter of that type is returned itself."""
    return torch.as_tensor(value, dtype=torch.get_default_dtype())


def value_or_none(value: Any) -> Any:
    """Return the data of a declaration passed as an argument; a SimulationParameter's counts as constant."""
    if isinstance(value, SimulationParameter):
        return Constant(value.data)
    return value.data if isinstance(value, ParameterBase) else value


def as_number(value: Any) -> Any:
    """Return a one-element tensor or array as a Python number, anything else as it is."""
    value = as_constant_free(value.data if isinstance(value, ParameterBase) else value)
    return value.item() if hasattr(value, "item") and math.prod(value.shape) == 1 else value


def simulation_constant(
    value: Any, name: str, where: str, count: int, *, zero: bool = False
) -> SimulationParameter:
    """Declare a number above 0, or a tensor with one per neuron, that the simulation needs.

    Args:
        value: the number or the numbers.
        name: of the attribute.
        where: class of the module, for messages.
        count: neurons.
        zero: Whether 0 is allowed as well.

    Raises:
        ParameterError: it is below what is allowed, or NaN.
        ShapeError: it has another shape than ``()`` or ``(count,)``.
    """
    number = as_number(value)
    if shape_of(number):
        number = real(number)
    lowest = float(torch.as_tensor(number).min())
    if not (lowest >= 0 if zero else lowest > 0):
        limit = "0 or more" if zero else "greater than 0"
        raise ParameterError(f"{where}: {name} is {lowest}; it must be {limit}.")
    return SimulationParameter(number, shape=[(), (count,)])


def time_step(dt: Any, where: str) -> SimulationParameter:
    """Declare a time step in s.

    Raises:
        ParameterError: it is 0, negative or NaN.
    """
    number = as_number(dt)
    if not number > 0:
        raise ParameterError(f"{where}: dt is {number} s; a time step must be greater than 0.")
    return SimulationParameter(number, cast_fn=float)


def spike_function(function: Any) -> SpikeFunction:
    """Return the callable of a surrogate, given as an ``autograd.Function`` class or as a callable.

    Raises:
        ParameterError: it cannot be called.
    """
    function = value_or_none(function)
    if isinstance(function, type) and issubclass(function, torch.autograd.Function):
        return function.apply
    if not callable(function):
        raise ParameterError(
            f"spike_generation_fn must be a torch.autograd.Function or a callable, not {function!r}. "
            "Use StepPWL or PeriodicExponential from snnkit.nn.surrogates."
        )
    return function


def spike_generation(module: Any) -> SpikeGeneration:
    """Return how a module with Rockpool's attribute names turns potentials into events."""
    window, most = as_number(module.learning_window), as_number(module.max_spikes_per_dt)
    function = module.spike_generation_fn
    if getattr(function, "__self__", None) not in (StepPWL, PeriodicExponential):
        # Functions that users wrote for Rockpool expect tensors, which it passes.
        like = module.vmem
        window, most = (torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (window, most))
    relative = bool(as_number(getattr(module, "relative_window", False)))
    return SpikeGeneration(module.threshold, function, window, most, relative)


def neuron_layout(shape: int | tuple[int, ...], where: str) -> tuple[int, int]:
    """Return ``(size_in, neurons)`` of a layer with ``size_in / neurons`` synapses per neuron.

    Raises:
        ShapeError: not one or two sizes, or the input channels do not divide evenly among the neurons.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(sizes) not in (1, 2) or any(size < 1 for size in sizes):
        raise ShapeError(f"{where}: shape must be N, (N,) or (size_in, N) with sizes above 0, not {shape}.")
    size_in, neurons = sizes[0], sizes[-1]
    if size_in % neurons:
        raise ShapeError(
            f"{where}: shape {sizes} gives {neurons} neurons {size_in} input channels, which is not a whole "
            f"number of synapses per neuron. Use a multiple of {neurons} input channels."
        )
    return size_in, neurons


def neuron_count(shape: int | tuple[int, ...] | None, where: str) -> int:
    """Return N of a layer with one input channel per neuron, given as ``N``, ``(N,)`` or ``(N, N)``.

    Raises:
        ShapeError: anything else.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape or ())
    if len(sizes) not in (1, 2) or len(set(sizes)) != 1 or sizes[0] < 1:
        raise ShapeError(
            f"{where}: `shape` must have only one dimension, N or (N,): every input channel feeds one neuron "
            f"(got {shape})."
        )
    return sizes[0]


def require_positive(where: str, value: Any) -> None:
    """Check a threshold.

    Raises:
        ParameterError: an element is 0, negative or NaN.
    """
    data = value_or_none(value)
    if data is None:
        return
    flat = torch.as_tensor(data).detach().reshape(-1)
    wrong = (~(flat > 0)).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        raise ParameterError(
            f"{where}: {len(wrong)} of {len(flat)} thresholds are not above 0 (the first is "
            f"{float(flat[first]):g} at index {first}). Such a neuron "
            "would fire without input; give positive values."
        )
