"""Symmetries and elements in words."""

from typing import TYPE_CHECKING

from snnkit.teleport.channels import ChannelPart

if TYPE_CHECKING:
    from snnkit.teleport.element import Element
    from snnkit.teleport.symmetries import Symmetries

_MOST_LINES = 60


def describe(found: "Symmetries") -> str:
    """Return all freedoms, then what holds the other parameters."""
    counts = (
        f"{found.n_scales} free scales, {found.n_signs} free signs, "
        f"{len(found.permutations)} sets of channels that may be reordered"
    )
    lines = [counts]
    for freedoms in (found.scales, found.signs, found.permutations):
        lines += [f"    {freedom}" for freedom in freedoms]
    held = [
        (name, found.why(name))
        for name, value in found.tape.parameters.items()
        if value.kind == "parameter" and value.shape
    ]
    lines += [f"    {name}: no scale, because of {'; '.join(reasons)}" for name, reasons in held if reasons]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"    and {len(lines) - _MOST_LINES} more"]
    return "\n".join(lines)


def describe_element(element: "Element") -> str:
    """Return the kinds of the parts, and how far factors go."""
    words = []
    for part in element.parts:
        if isinstance(part, ChannelPart):
            found = []
            if part.scales:
                lowest = min(float(values.min()) for values in part.scales.values())
                highest = max(float(values.max()) for values in part.scales.values())
                count = sum(len(values) for values in part.scales.values())
                found.append(f"{count} scales from {lowest:.3g} to {highest:.3g}")
            flipped = sum(int((values < 0).sum()) for values in part.signs.values())
            if flipped:
                found.append(f"{flipped} signs flipped")
            if part.permutations:
                found.append(f"{len(part.permutations)} sets of channels reordered")
            words.append(", ".join(found))
        else:
            words.append(part.kind)
    return f"Element({'; then '.join(words) or 'identity'})"
