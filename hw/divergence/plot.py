"""A comparison as a picture: both rasters of one sample, and the error of each layer over time."""

from typing import Any

from snnkit.utilities.errors import MissingDependencyError

from .result import Comparison, LayerRaster

__all__ = ["plot_comparison"]

_SAME, _ONLY_A, _ONLY_B, _OTHER = "0.55", "tab:blue", "tab:orange", "tab:red"
_ERROR_SHARE = 0.28
_GAP = 2
"""Empty rows between layers."""


def plot_comparison(found: Comparison, axes: Any = None) -> Any:
    """Draw into ``axes``, or into a new figure; return the axes of the rasters."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingDependencyError('Plots need matplotlib: pip install "snnkit[report]".') from error
    if axes is None:
        _, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    rows = _draw_rasters(found, axes)
    first = found.divergence
    if first is not None:
        axes.axvline(first.time, color=_OTHER, linewidth=0.8, linestyle=":")
        row = rows.get(first.layer)
        if row is not None:
            axes.plot(
                [first.time], [row + first.neuron], "o", markersize=12, fillstyle="none", color=_OTHER,
                label="first difference",
            )  # fmt: skip
    axes.set_xlabel("time step")
    axes.set_xlim(-0.5, max(found.steps - 0.5, 0.5))
    told = "no difference" if first is None else f"{first.cause}, step {first.time}"
    axes.set_title(f"{found.a} and {found.b}, sample {found.sample}: {told}", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1 - _ERROR_SHARE), fontsize=8, frameon=False)
    _draw_errors(found, axes)
    return axes


def _draw_rasters(found: Comparison, axes: Any) -> dict[str, int]:
    """Draw events by layer; return the row of each layer's first neuron."""
    rows: dict[str, int] = {}
    points: dict[str, list[tuple[int, int]]] = {_SAME: [], _ONLY_A: [], _ONLY_B: [], _OTHER: []}
    row = 0
    for layer in found.rasters:
        rows[layer.path] = row
        for colour, places in _sorted(layer).items():
            points[colour] += [(step, row + neuron) for step, neuron in places]
        row += layer.neurons + _GAP
    labels = {
        _SAME: "same events",
        _ONLY_A: f"{found.a} only",
        _ONLY_B: f"{found.b} only",
        _OTHER: "other number",
    }
    size = min(max(2000 / max(row, 1), 6), 60)
    for colour, places in points.items():
        if places:
            steps, neurons = zip(*places, strict=True)
            axes.scatter(
                steps, neurons, s=size, marker="|", linewidths=1.4, color=colour, label=labels[colour]
            )
    axes.set_yticks([rows[layer.path] + (layer.neurons - 1) / 2 for layer in found.rasters])
    axes.set_yticklabels([layer.path for layer in found.rasters], fontsize=8)
    # Room above the rasters for the error over time.
    axes.set_ylim(-1, max(row, 1) / (1 - _ERROR_SHARE))
    return rows


def _sorted(layer: LayerRaster) -> dict[str, list[tuple[int, int]]]:
    """Return the places with events by colour: alike, on one side alone, in another number."""
    a = {(step, neuron): count for step, neuron, count in layer.a}
    b = {(step, neuron): count for step, neuron, count in layer.b}
    both = a.keys() & b.keys()
    return {
        _SAME: [place for place in both if a[place] == b[place]],
        _OTHER: [place for place in both if a[place] != b[place]],
        _ONLY_A: list(a.keys() - b.keys()),
        _ONLY_B: list(b.keys() - a.keys()),
    }


def _draw_errors(found: Comparison, axes: Any) -> None:
    """Draw the share of differing neurons of each layer over time, above the rasters."""
    inset = axes.inset_axes((0.0, 1 - _ERROR_SHARE + 0.03, 1.0, _ERROR_SHARE - 0.03), sharex=axes)
    for layer in found.layers:
        if layer.error_over_time:
            inset.plot(layer.error_over_time, linewidth=1, label=layer.path)
    inset.set_ylabel("differ", fontsize=8)
    inset.set_ylim(bottom=0)
    inset.tick_params(labelsize=7, labelbottom=False)
    if inset.get_legend_handles_labels()[0]:
        inset.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)
