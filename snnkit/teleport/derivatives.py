"""Gradients and second derivatives of a loss with respect to the parameters of a net."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["Loss", "gradient", "hessian", "hessian_trace"]

Loss = Callable[[Any, Any], Tensor]


def gradient(
    network: nn.Module, parameters: list[nn.Parameter], data: Any, target: Any, loss: Loss
) -> list[Tensor]:
    """Return the gradient of ``loss(network(data), target)`` with respect to each parameter."""
    value = loss(network(data), target)
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    found = dict(zip(map(id, trained), torch.autograd.grad(value, trained, allow_unused=True), strict=True))
    gradients = [found.get(id(parameter)) for parameter in parameters]
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]


def _of_flat(network: nn.Module, parameters: Mapping[str, Tensor], data: Any, target: Any, loss: Loss) -> Any:
    """Return the loss as a function of the parameters named, laid out as one vector."""
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    sizes = [shape.numel() for shape in shapes.values()]

    def function(flat: Tensor) -> Tensor:
        pieces = flat.split(sizes)
        values = {name: piece.reshape(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}
        return loss(functional_call(network, values, (data,)), target)

    return function


def _flat(parameters: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in parameters.values()])


def hessian(
    network: nn.Module, parameters: Mapping[str, Tensor], data: Any, target: Any, loss: Loss
) -> Tensor:
    """Return all second derivatives by the parameters named, ``(n, n)``."""
    function = _of_flat(network, parameters, data, target, loss)
    found = torch.autograd.functional.hessian(function, _flat(parameters))
    assert isinstance(found, Tensor)
    return found


def hessian_trace(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    data: Any,
    target: Any,
    loss: Loss,
    *,
    samples: int | None = None,
    generator: torch.Generator | None = None,
) -> float:
    """Return the sum of the second derivatives by each number.

    Args:
        samples: Without it every number is differentiated twice. With it the mean of ``v . H v`` over so many
            random vectors of 1 and -1 (Hutchinson 1990), which is right on average.
        generator: Of the random vectors.
    """
    flat = _flat(parameters).requires_grad_()
    function = _of_flat(network, parameters, data, target, loss)
    (first,) = torch.autograd.grad(function(flat), flat, create_graph=True)
    if samples is None:
        diagonal = (torch.autograd.grad(first[i], flat, retain_graph=True)[0][i] for i in range(flat.numel()))
        return float(sum(float(entry) for entry in diagonal))
    total = 0.0
    for _ in range(samples):
        signs = torch.randint(0, 2, flat.shape, generator=generator).to(flat) * 2 - 1
        (product,) = torch.autograd.grad(first @ signs, flat, retain_graph=True)
        total += float(product @ signs)
    return total / samples
