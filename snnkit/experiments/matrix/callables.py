"""The optimisers and learning-rate schedulers that a configuration may name, and checks of their arguments.

Names are looked up in a table, never evaluated. What torch calls ``lr_lambda`` is a function, which a
configuration cannot hold: PolynomialLR, LinearLR and MultiStepLR take its place.
"""

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch

from snnkit.utilities.errors import unknown_key_message

__all__ = ["argument_problems", "is_sequence", "optimizers", "schedulers"]

_OPTIMIZERS = ("SGD", "Adam", "AdamW", "Adamax", "Adagrad", "Adadelta", "NAdam", "RAdam", "RMSprop")
_SCHEDULERS = (
    "ReduceLROnPlateau",
    "StepLR",
    "MultiStepLR",
    "ExponentialLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "LinearLR",
    "PolynomialLR",
    "OneCycleLR",
    "CyclicLR",
)
_NOT_TO_SET = ("self", "params", "optimizer", "scale_fn", "verbose")
_REQUIRED = inspect.Parameter.empty


@functools.cache
def optimizers() -> Mapping[str, Mapping[str, Any]]:
    """Return name -> argument -> default of the optimisers."""
    return {name: _arguments(getattr(torch.optim, name)) for name in _OPTIMIZERS}


@functools.cache
def schedulers() -> Mapping[str, Mapping[str, Any]]:
    """Return name -> argument -> default of the schedulers; required arguments have ``inspect``'s empty."""
    return {name: _arguments(getattr(torch.optim.lr_scheduler, name)) for name in _SCHEDULERS}


def _arguments(cls: type) -> dict[str, Any]:
    found = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return {p.name: _default(p) for p in found if p.name not in _NOT_TO_SET}


def _default(parameter: inspect.Parameter) -> Any:
    """Return the default; torch writes 0 for some that are real numbers."""
    real = type(parameter.default) is int and parameter.annotation not in (int, "int")
    return float(parameter.default) if real else parameter.default


_SEQUENCES = ("milestones", "blocks")
"""Arguments that take lists and have no default to tell it."""


def is_sequence(name: str, default: Any) -> bool:
    """Whether an argument's value is a list by itself, so that only a list of lists is an axis."""
    return isinstance(default, list | tuple) or name in _SEQUENCES


def argument_problems(owner: str, arguments: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with arguments by name, kind of value and completeness."""
    problems = []
    for key, value in arguments.items():
        if key not in known:
            problems.append(f"{unknown_key_message(f'argument of {owner}', key, known)}")
        elif not _fits(key, value, known[key]):
            problems.append(f"{key} of {owner} is {value!r}; it must be like {_example(key, known[key])}.")
    missing = [key for key, default in known.items() if default is _REQUIRED and key not in arguments]
    return problems + [f"{owner} needs {key}." for key in missing]


def _fits(name: str, value: Any, default: Any) -> bool:
    if is_sequence(name, default):
        return isinstance(value, list | tuple) and all(_is_number(entry) for entry in value)
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return _is_number(value) and float(value).is_integer()
    if isinstance(default, float):
        return _is_number(value)
    if isinstance(default, str):
        return isinstance(value, str)
    return value is None or isinstance(value, str | bool) or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _example(name: str, default: Any) -> str:
    if is_sequence(name, default) and not isinstance(default, list | tuple):
        return "a list of numbers"
    return "a number" if default is _REQUIRED or default is None else repr(default)
