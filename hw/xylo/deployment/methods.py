"""The ways in which scales are chosen, by name, and what does not go together with them."""

import numpy as np
import torch

from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..mapping.mapped_network import MappedNetwork
from .quantising import QuantisedNetwork, integers_of, quantise

__all__ = ["METHODS", "RULES", "check_method", "quantise_by_rule", "refuse_method_for"]

METHODS = ("peaks", "orbit", "max-abs", "global")
"""The first is the default; the last two know nothing of states and are there to compare with."""

RULES = ("max-abs", "global")


def check_method(method: str, *, calibrated: bool, planned: bool, has_settings: bool) -> None:
    """Refuse a method that does not exist, or options that do not go with it.

    Args:
        method: its name.
        calibrated: whether there are calibration data.
        planned: whether a plan or a headroom is given.
        has_settings: whether settings of a search are given.

    Raises:
        ConfigurationError: if something does not fit.
    """
    if method not in METHODS:
        raise ConfigurationError(unknown_key_message("method", str(method), METHODS))
    if method == "orbit" and not calibrated:
        raise ConfigurationError(
            'method="orbit" compares programs with the network on calibration data, and none are given: pass '
            "training recordings as calibration, event counts (batch, time, channels)."
        )
    if method in RULES and planned:
        raise ConfigurationError(
            f'method="{method}" follows from the weights alone: give neither plan nor headroom, or '
            'method="peaks".'
        )
    if has_settings and method != "orbit":
        raise ConfigurationError(
            f'Settings of the search are given, but the method is "{method}": pass method="orbit".'
        )


def refuse_method_for(what: str, method: str) -> None:
    """Refuse every method but the default for a network that holds its integers already."""
    if method != METHODS[0]:
        raise ConfigurationError(
            f"A {what} network holds the very values of its program, so there is nothing for "
            f'method="{method}" to choose. Deploy it without a method, or take the float network that it '
            "was made of."
        )


def quantise_by_rule(mapped: MappedNetwork, method: str) -> tuple[QuantisedNetwork, ScalePlan]:
    """Return the program of scales that follow from parameters alone, without weight shifts.

    ``"max-abs"``: each neuron's largest weight (or threshold, or bias) uses its whole range. ``"global"``:
    all hidden neurons share one scale, the smallest of these, and all outputs another.
    """
    plan = ScalePlan()
    if method == "max-abs":
        return quantise(mapped, plan), plan
    found = integers_of(mapped, plan)
    smallest = {"hidden": _smallest(found.scale), "output": _smallest(found.scale_out)}
    scales = {
        p.path: torch.full((p.stop - p.start,), smallest[p.layer], dtype=torch.float64)
        for p in mapped.populations
    }
    return quantise(mapped, plan, scales), plan


def _smallest(scale: np.ndarray) -> float:
    return float(scale.min(initial=np.inf))
