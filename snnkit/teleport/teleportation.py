"""Changing the parameters of a model, in place, so that its function stays."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport.element import Element
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.memory import unwritable
from snnkit.teleport.sampling import random
from snnkit.teleport.symmetries import Symmetries, symmetries

__all__ = ["random_teleport", "teleport"]

_SHOWN = 5
_SMALLEST_TOLD = 2.0**10
"""How many times the smallest normal number a weight must be for losing it to be an error."""


def teleport(model: nn.Module, element: Element) -> None:
    """Change the parameters of ``model`` in place.

    Parameters and buffers stay the objects they are, so that optimisers stay valid; gradients and the state
    of an optimiser are not touched. Either all are changed or none.

    That names, shapes and ties of the parameters are those of the element's model is checked; what a forward
    pass does is not, since nothing runs. An element of a network with ReLU does not fit one with GELU.

    Args:
        model: Of the architecture that the element was made for: the model itself, a copy, its graph.
        element: What to do.

    Raises:
        TeleportError: Parameters are missing, of other shapes or tied otherwise, cannot be written alone
            (they share memory, are on the meta device), or a factor takes numbers out of the range of their
            type.
    """
    tensors = _checked(model, element.symmetries)
    new = element.apply(tensors)
    problems = [text for name, value in new.items() for text in _lost(name, tensors[name], value)]
    if problems:
        raise TeleportError(f"nothing was changed: {_listed(problems)}")
    with torch.no_grad():
        for name, value in new.items():
            tensors[name].copy_(value)


def _checked(model: nn.Module, found: Symmetries) -> dict[str, Tensor]:
    """Return the tensors of a model by path, if an element of ``found`` fits it."""
    tensors = named_tensors(model)
    shapes = {name: found.tape.parameters[name].shape for name in found.names}
    problems = [f"{name} is missing" for name in shapes if name not in tensors]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if name in tensors and not _fits(tensors[name], shape)
    ]
    problems = problems or _tied_otherwise(tensors, found)
    if problems:
        raise TeleportError(
            f"the element belongs to another model than this {type(model).__name__}: {_listed(problems)}"
        )
    problems = unwritable(tensors, shapes)
    if problems:
        raise TeleportError(f"nothing was changed: {_listed(problems)}")
    return tensors


def _listed(problems: list[str]) -> str:
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def _fits(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has a shape; the state of a module may have another batch axis in front, or none."""
    own = tuple(tensor.shape)
    if own == shape or isinstance(tensor, nn.Parameter):
        return own == shape
    if len(own) == len(shape):
        return len(own) > 1 and own[1:] == shape[1:]
    return abs(len(own) - len(shape)) == 1 and (own[1:] == shape or own == shape[1:])


def _tied_otherwise(tensors: Mapping[str, Tensor], found: Symmetries) -> list[str]:
    problems = []
    for alias, name in found.tape.aliases.items():
        if name in found.names and alias in tensors and tensors[alias] is not tensors[name]:
            problems.append(f"{alias} is not tied to {name}")
    owners: dict[int, str] = {}
    for name in found.tape.parameters:
        if name in tensors:
            other = owners.setdefault(id(tensors[name]), name)
            if other != name and (name in found.names or other in found.names):
                problems.append(f"{name} is tied to {other}")
    return problems


def _lost(name: str, old: Tensor, new: Tensor) -> list[str]:
    """Say whether numbers left the range of their type."""
    if not old.is_floating_point():
        return []
    if not bool(new.isfinite().all()) and bool(old.isfinite().all()):
        return [f"{name} would overflow {old.dtype}"]
    tiny = torch.finfo(old.dtype).tiny
    if int((old.abs() >= _SMALLEST_TOLD * tiny).sum()) > int((new.abs() >= tiny).sum()):
        return [f"numbers of {name} would be too small for {old.dtype}"]
    return []


def random_teleport(
    model: nn.Module,
    example_inputs: Any,
    cob_range: float = 0.5,
    sampling: str = "intra_landscape",
    generator: torch.Generator | None = None,
    *,
    center: float = 1.0,
    signs: str = "where odd",
    permutations: bool = False,
    batch_norm: str = "statistics",
) -> Element:
    """Draw an element for a model, change its parameters in place by it, and return it.

    Args:
        model: Any module; its parameters stay the same objects.
        example_inputs: A tensor, or the positional arguments, for spiking models ``(batch, time, channels)``.
        cob_range, sampling, generator, center, signs, permutations: As for :func:`random`.
        batch_norm: As for :func:`symmetries`.

    Raises:
        TapeError: The model does not run on these inputs.
        TeleportError: See :func:`random` and :func:`teleport`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.randn(3, 4)
        >>> before = model(x)
        >>> element = random_teleport(model, x, 0.9)
        >>> torch.allclose(model(x), before, atol=1e-6)
        True
        >>> teleport(model, element.inverse())
    """
    found = symmetries(model, example_inputs, batch_norm=batch_norm)
    element = random(
        found,
        cob_range,
        sampling,
        center=center,
        generator=generator,
        signs=signs,
        permutations=permutations,
    )
    teleport(model, element)
    return element
