"""Sentences about panels, with their numbers."""

from collections.abc import Sequence

import numpy as np

from snnkit.experiments.training.comparison import Panel

__all__ = ["leads", "tuned_leads"]

_NONE = "no teleport"
_NOUNS = {
    "teleport": "teleported nets",
    _NONE: "nets that are not teleported",
    "pseudo": "pseudo-teleported nets",
}


def leads(panels: Sequence[Panel], epochs: Sequence[int], way: str, other: str = _NONE) -> str:
    """Say how far the mean of ``way`` lies above ``other`` at the first and the last epoch of the boxes."""
    first, last = epochs[0], epochs[-1]
    told = [
        f"{panel.title} {panel.lead(first, way, other):+.1f} and {panel.lead(last, way, other):+.1f}"
        for panel in panels
        if panel.has(way, other)
    ]
    if not told:
        return ""
    return (
        f"The mean of {_noun(way)} lies above that of {_noun(other)} after epochs {first} and {last} by, in "
        f"points of validation accuracy: {'; '.join(told)}."
    )


def tuned_leads(panels: Sequence[Panel], way: str, other: str = _NONE) -> str:
    """Say how far ``way`` lies above ``other`` on the test images when both have their best learning rate."""
    told = []
    for panel in panels:
        if not panel.has(way, other):
            continue
        mean, error = panel.tuned_lead(way, other)
        spread = f" ± {error:.1f}" if np.isfinite(error) else ""
        told.append(f"{panel.title} {mean:+.1f}{spread}")
    if not told:
        return ""
    return (
        f"Tuned alike, {_noun(way)} are ahead of {_noun(other)} on the test images by, in points with "
        f"standard error over paired runs: {'; '.join(told)}."
    )


def _noun(way: str) -> str:
    return _NOUNS.get(way, f"nets of {way}")
