"""The scales of a program as a teleport of the float network, and the proof that it changes no event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from snnkit.nn.per_neuron import expand_to_neurons
from snnkit.transforms.calibration import like_the_values_of, quiet_copy
from snnkit.utilities.errors import SnnkitError

from ..deployment.float_run import module_path
from ..validation.network_side import network_trace

if TYPE_CHECKING:
    from snnkit.teleport import Element, Symmetries

__all__ = ["Certificate", "certify"]


@dataclass(frozen=True, eq=False)
class Certificate:
    """The network with its neurons scaled as on the chip, against the network as it was, in float64.

    Attributes:
        element: the teleport: its factors are the program's scales, so the scaled network is in the units of
            the chip. It belongs to the network with a threshold and bias for each neuron, see
            :func:`snnkit.nn.per_neuron.expand_to_neurons`; None if the network cannot be scaled so.
        events: that the network's neurons sent on the recordings.
        differing: how many (recording, step, neuron) differ in the scaled network.
        reason: why there is no teleport; empty if there is one.
    """

    element: "Element | None"
    events: int
    differing: int
    reason: str = ""

    def __str__(self) -> str:
        if self.element is None:
            return f"the scales could not be tried on the float network: {self.reason}"
        if self.differing:
            return f"the scales alone change {self.differing} counts of {self.events} events in float64"
        return f"the scales alone change none of {self.events} events in float64"


def certify(
    net: nn.Module, scales: Mapping[str, np.ndarray], counts: np.ndarray, delays: Sequence[int]
) -> Certificate:
    """Scale a copy of ``net`` and compare all events of its neurons.

    Args:
        net: the float network, left as it is.
        scales: module path -> (N,) positive factors.
        counts: (samples, steps, channels) events.
        delays: of the populations, in the order of ``scales``.
    """
    from snnkit.teleport import symmetries, teleport

    copied = expand_to_neurons(quiet_copy(net).double())
    example = like_the_values_of(copied, torch.from_numpy(counts[:1]))
    try:
        found = symmetries(copied, (example,))
        factors, reason = _flat(found, copied, scales)
        if reason:
            return Certificate(None, 0, 0, reason)
        element = found.element(factors)
        before = _events(copied, counts, scales, delays)
        teleport(copied, element)
    except SnnkitError as error:
        return Certificate(None, 0, 0, str(error).splitlines()[0])
    after = _events(copied, counts, scales, delays)
    differing = sum(int(np.count_nonzero(a != b)) for a, b in zip(before, after, strict=True))
    return Certificate(element, sum(int(events.sum(dtype=np.int64)) for events in before), differing)


def _flat(found: "Symmetries", net: nn.Module, scales: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, str]:
    """Return the factors in the order of the symmetries' scales, and why that is not possible."""
    paths = {module_path(name): name for name, _ in net.named_modules()}
    place_of: dict[str, slice] = {}
    start = 0
    for freedom in found.scales:
        place = slice(start, start + freedom.size)
        place_of |= {member: place for member, _ in freedom.members}
        start = place.stop
    factors = torch.ones(start, dtype=torch.float64)
    taken: dict[int, str] = {}
    for path, values in scales.items():
        # A graph's symmetries name modules as its vertices are named, others as named_modules does.
        names = [f"{found_at}.threshold" for found_at in (paths.get(path, path), path)]
        name = next((known for known in names if known in place_of), names[0])
        place = place_of.get(name, slice(0, -1))
        if place.stop - place.start != len(values):
            why = found.why(name) if name in found.names else ()
            return factors, f"{path}: {why[0] if why else 'its neurons do not scale one by one'}"
        if place.start in taken:
            return factors, f"{path} scales with {taken[place.start]} alone"
        taken[place.start] = path
        factors[place] = torch.from_numpy(values)
    return factors, ""


def _events(
    net: nn.Module, counts: np.ndarray, scales: Mapping[str, np.ndarray], delays: Sequence[int]
) -> list[np.ndarray]:
    trace = network_trace(
        net, counts, list(scales), delays, title="float", quiet=True, precise=True, states=False
    )
    return [layer.events for layer in trace.layers if layer.events is not None]
