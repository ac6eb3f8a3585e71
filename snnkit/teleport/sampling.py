"""Drawing elements at random."""

from collections.abc import Callable, Sequence
from math import ceil, isfinite
from numbers import Real

import torch
from torch import Tensor

from snnkit.teleport.channels import ChannelPart
from snnkit.teleport.element import Element
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.freedoms import Freedom
from snnkit.teleport.symmetries import Symmetries
from snnkit.utilities.errors import unknown_key_message

__all__ = ["SAMPLINGS", "random", "range_problems"]

Draw = Callable[[int], Tensor]

SAMPLINGS = ("intra_landscape", "inter_landscape", "positive", "negative", "centered", "powers_of_two")
"""Ways to draw factors, by name; see :func:`random`."""

_SIGNS = ("where odd", "required", "none")


def random(
    symmetries: Symmetries,
    cob_range: float = 0.5,
    sampling: str = "intra_landscape",
    *,
    center: float = 1.0,
    generator: torch.Generator | None = None,
    signs: str = "where odd",
    permutations: bool = False,
) -> Element:
    """Draw an element: a factor for every channel that may have one.

    With range ``s`` the factors are uniform: "intra_landscape" in [1 - s, 1 + s], "inter_landscape" half
    around 1 and half around -1, "positive" in (0, s], "negative" in [-s, 0), "centered" in [center - s,
    center + s]. "powers_of_two" draws 2 ** k, k uniform among the integers of [-ceil(s), ceil(s)].

    The absolute value of what is drawn is the scale of a channel, its sign the sign. A channel that cannot
    have a scale (before tanh) takes the sign only; one that cannot have a sign (before ReLU) the absolute
    value only.

    Args:
        symmetries: Of the model.
        cob_range: The range ``s`` of the change of basis.
        sampling: One of :data:`SAMPLINGS`.
        center: Of "centered".
        generator: Where random numbers come from; torch's global one by default.
        signs: "where odd"; "required" refuses to drop a negative sign; "none" draws scales only.
        permutations: Whether the channels are brought into a random order as well.

    Raises:
        TeleportError: There is no such sampling, the range is out of bounds, the
            generator is none, or a negative factor was drawn
            for a channel that cannot have one and signs are required.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TeleportError(
            f"generator is {generator!r}; it must be a torch.Generator, such as "
            "torch.Generator().manual_seed(0)."
        )
    draw = _draw(sampling, cob_range, center, generator, symmetries.scale_table.denominator)
    if signs not in _SIGNS:
        raise TeleportError(unknown_key_message("treatment of signs", signs, _SIGNS))
    scales, negative = _factors(symmetries, draw, required=signs == "required")
    if signs == "none":
        negative = {}
    orders = _orders(symmetries.permutations, generator) if permutations else {}
    return Element(symmetries, (ChannelPart(symmetries, scales, negative, orders),))


def _factors(
    symmetries: Symmetries, draw: Draw, *, required: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Draw scales and signs; channels that have both get them from one number."""
    odd = {freedom.name: freedom.size for freedom in symmetries.signs}
    scales: dict[str, Tensor] = {}
    negative: dict[str, Tensor] = {}
    for freedom in symmetries.scales:
        drawn = draw(freedom.size)
        scales[freedom.name] = drawn.abs()
        if odd.get(freedom.name) == freedom.size:
            negative[freedom.name] = drawn.sign()
        elif required and bool((drawn < 0).any()):
            raise TeleportError(_not_odd(freedom))
    for freedom in symmetries.signs:
        if freedom.name not in negative:
            negative[freedom.name] = draw(freedom.size).sign()
    return scales, negative


def _not_odd(freedom: Freedom) -> str:
    return (
        f"a negative factor was drawn for channels of {freedom.name}, but what they run through is not odd, "
        "so that -1 does not pass. Draw with signs='where odd' to take absolute values there."
    )


def _orders(freedoms: Sequence[Freedom], generator: torch.Generator | None) -> dict[str, Tensor]:
    return {
        freedom.name: torch.randperm(freedom.size, generator=generator, device=_device(generator)).cpu()
        for freedom in freedoms
    }


def _device(generator: torch.Generator | None) -> torch.device:
    return generator.device if generator is not None else torch.device("cpu")


def range_problems(sampling: str, cob_range: float, center: float) -> list[str]:
    """Say what is wrong with the arguments of a sampling."""
    problems = [
        f"{name} is {number!r}; it must be a number, {wanted}"
        for name, number, wanted in (
            ("cob_range", cob_range, "positive and finite"),
            ("center", center, "finite"),
        )
        if not isinstance(number, Real) or not isfinite(number)
    ]
    if problems:
        return problems
    if cob_range <= 0:
        return [f"cob_range is {cob_range}; it must be positive and finite"]
    if sampling in ("intra_landscape", "inter_landscape") and cob_range >= 1:
        return [f"cob_range is {cob_range} with {sampling}; it must be below 1, or factors could be zero"]
    return []


def _draw(
    sampling: str, cob_range: float, center: float, generator: torch.Generator | None, denominator: int
) -> Draw:
    if sampling not in SAMPLINGS:
        raise TeleportError(unknown_key_message("sampling", sampling, SAMPLINGS))
    problems = range_problems(sampling, cob_range, center)
    if problems:
        raise TeleportError("; ".join(problems))

    def uniform(size: int) -> Tensor:
        drawn = torch.rand(size, generator=generator, dtype=torch.float64, device=_device(generator))
        return drawn.cpu()

    def draw(size: int) -> Tensor:
        within = 1 - uniform(size)  # never zero
        if sampling == "positive":
            return cob_range * within
        if sampling == "negative":
            return -cob_range * within
        if sampling == "powers_of_two":
            bound = ceil(cob_range)
            exponents = (uniform(size) * (2 * bound + 1)).floor() - bound
            return torch.exp2(exponents * denominator)
        around = cob_range * (2 * within - 1)
        if sampling == "inter_landscape":
            return (1 + around) * torch.where(uniform(size) < 0.5, -1.0, 1.0).double()
        value = around + (center if sampling == "centered" else 1.0)
        return torch.where(value == 0, cob_range, value)

    return draw
