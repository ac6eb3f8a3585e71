"""Random changes of parameters during training: dropped connections and device mismatch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnkit.utilities.errors import ParameterError

from .modes import is_deterministic
from .rounding import uniform

__all__ = ["dropout", "mismatch_generator", "mismatch_noise"]


def dropout(param: Tensor, dropout_prob: float = 0.5, generator: torch.Generator | None = None) -> Tensor:
    """Set each element of ``param`` to 0 with probability ``dropout_prob``; the others keep their value.

    Nothing is rescaled, as in Rockpool: this is a lost connection, not a regulariser that keeps the mean.
    Dropped elements get no gradient. In evaluation mode nothing is dropped.
    """
    if not 0.0 <= dropout_prob <= 1.0:
        raise ParameterError(f"dropout_prob is {dropout_prob}; a probability lies between 0 and 1.")
    if is_deterministic():
        return param
    return param * (uniform(param, generator) >= dropout_prob).to(param.dtype)


def mismatch_noise(
    param: Tensor,
    percent_deviation: float = 0.30,
    sigma_rule: float = 3.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiply each element by ``1 + N(0, percent_deviation / sigma_rule)``: a new device at every call.

    ``percent_deviation`` is a fraction (0.30 is 30 %) that ``sigma_rule`` standard deviations reach. The draw
    is cut at ``sigma_rule``, so no sign flips for deviations under 1. In evaluation mode nothing changes.
    """
    _check_mismatch(percent_deviation, sigma_rule)
    if is_deterministic():
        return param
    return param * _mismatch_factors(param, percent_deviation, sigma_rule, generator)


def mismatch_generator(
    prototype: Any, percent_deviation: float = 0.30, sigma_rule: float = 3.0
) -> Callable[..., dict[str, Any]]:
    """Return ``regenerate(parameters, generator=None)``, which draws one mismatched device.

    ``prototype`` is a tree of booleans (``make_prototype_tree``) that says which leaves vary. The result is a
    new tree of tensors shaped as ``parameters``, for ``net.set_attributes``; other leaves are passed on.
    """
    _check_mismatch(percent_deviation, sigma_rule)

    return partial(_mismatch_tree, prototype=prototype, deviation=percent_deviation, sigma=sigma_rule)


def _mismatch_tree(
    tree: dict[str, Any],
    generator: torch.Generator | None = None,
    *,
    prototype: Any,
    deviation: float,
    sigma: float,
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, leaf in tree.items():
        varies = prototype.get(key, False) if isinstance(prototype, dict) else bool(prototype)
        if isinstance(leaf, dict):
            result[key] = _mismatch_tree(leaf, generator, prototype=varies, deviation=deviation, sigma=sigma)
        elif varies:
            result[key] = leaf.detach() * _mismatch_factors(leaf, deviation, sigma, generator)
        else:
            result[key] = leaf
    return result


def _mismatch_factors(
    param: Tensor, deviation: float, sigma: float, generator: torch.Generator | None
) -> Tensor:
    device = param.device if generator is None else generator.device
    draw = torch.randn(param.shape, generator=generator, device=device).to(param.device, param.dtype)
    return 1.0 + draw.clamp(-sigma, sigma) * (deviation / sigma)


def _check_mismatch(deviation: float, sigma: float) -> None:
    if deviation < 0 or not sigma > 0:
        raise ParameterError(
            f"percent_deviation={deviation}, sigma_rule={sigma}: the deviation must be 0 or more, "
            "the number of standard deviations greater than 0."
        )
