"""A comparison as text."""

from .result import Comparison, LayerAgreement

__all__ = ["comparison_text"]

_SHOWN = 8
"""Candidates that are listed; their number is told."""


def comparison_text(found: Comparison) -> str:
    """Return the table of layers, the first difference, and the parameters that explain it."""
    samples = "1 sample" if found.samples == 1 else f"{found.samples} samples"
    head = ["layer", "neurons", "delay", found.a, found.b, "same", "rate error", "spike distance"]
    rows = [[*head, "state error"], *(_row(layer) for layer in found.layers)]
    lines = [f"{found.a} and {found.b}: {samples} of {found.steps} steps", "", *_table(rows), ""]
    first = found.divergence
    if first is None:
        return "\n".join([*lines, "no difference"])
    lines.append(f"first difference: {first}")
    if len(first.candidates) > 1:
        lines += [f"  - {candidate}" for candidate in first.candidates[:_SHOWN]]
        if len(first.candidates) > _SHOWN:
            lines.append(f"  - and {len(first.candidates) - _SHOWN} more")
    return "\n".join(lines)


def _row(layer: LayerAgreement) -> list[str]:
    return [
        layer.path,
        str(layer.neurons),
        str(layer.delay),
        _count(layer.a_events),
        _count(layer.b_events),
        _percent(layer.same_events, 2),
        _percent(layer.rate_error, 1),
        _percent(layer.spike_distance, 1),
        "-" if layer.state_error is None else f"{layer.state_error:.3g}",
    ]


def _count(events: int | None) -> str:
    return "-" if events is None else f"{events:,}"


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
