"""``diverge``: two sides, one raster, the first difference with its cause."""

from typing import Any

import numpy as np

from .figures import layer_agreement
from .first import Place, first_difference
from .result import Comparison, Divergence, LayerRaster
from .trace import LayerTrace, Trace, aligned

__all__ = ["compared", "diverge"]


def diverge(
    a: Any,
    b: Any,
    raster: Any,
    *,
    specification: Any = None,
    chip: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Run two sides on the same rasters and tell where, and why, they first differ.

    A side is a network in torch (trained, transformed, or chip-exact), a :class:`Specification`, a
    deployment, a simulator, a session (what :func:`snnkit.hw.connect` returns), or a mapping of recorded
    arrays ``(batch, time, neurons)`` under XyloSim's names. Every sample begins at rest; networks run in
    evaluation mode and are left as they are.

    Layers are moved onto each other where one side has a delay for each hop and the other has not. The
    cause is found by moving from one side to the other, one change at a time: the first change that alters
    the value where the sides first differ is named.

    Args:
        a: the first side.
        b: the second side.
        raster: ``(batch, time, Nin)`` or ``(time, Nin)`` event counts, numpy or torch.
        specification: the program that records and sessions are of, where neither side tells it.
        chip: lays two networks out for the attribution, where no side says for which chip it is.
        seed: of the noise of networks that have some.

    Raises:
        ConfigurationError: something is no side, or the sides are not of one network.
        ShapeError, DataError: the raster or a record does not fit.

    Example:
        >>> import dataclasses
        >>> import numpy as np
        >>> from snnkit.hw import diverge
        >>> from snnkit.hw.xylo import Specification
        >>> spec = Specification.create(chip="imu", weights_in=[[90]], weights_out=[[80]], threshold=60)
        >>> found = diverge(spec, dataclasses.replace(spec, threshold=[50]), np.ones((4, 1), int))
        >>> found.divergence.candidates[0].parameter, found.divergence.time
        ('threshold', 1)
    """
    from ..xylo.validation.compare import compare

    return compare(a, b, raster, specification=specification, chip=chip, seed=seed).comparison


def compared(a: Trace, b: Trace, steps: int) -> tuple[Comparison, Place | None]:
    """Return the figures of two traces and the first difference; its cause is still to be found.

    Args:
        a: the first side.
        b: the second side, with the same layers.
        steps: time steps of the raster.
    """
    place = first_difference(a, b, steps)
    sample = 0 if place is None else place.sample
    layers = list(zip(a.layers, b.layers, strict=True))
    first = None
    if place is not None:
        first = Divergence(
            time=place.time,
            layer=a.layers[place.layer].path,
            neuron=place.neuron,
            a_value=place.a_value,
            b_value=place.b_value,
            reason="",
            sample=place.sample,
            quantity=place.quantity,
            a=a.title,
            b=b.title,
        )
    found = Comparison(
        a=a.title,
        b=b.title,
        samples=_samples(a),
        steps=steps,
        layers=tuple(layer_agreement(ours, theirs, steps) for ours, theirs in layers),
        divergence=first,
        sample=sample,
        rasters=tuple(_raster(ours, theirs, sample, steps) for ours, theirs in layers) if _samples(a) else (),
    )
    return found, place


def _samples(trace: Trace) -> int:
    arrays = (values for layer in trace.layers for values in (layer.events, *layer.states.values()))
    return next((len(values) for values in arrays if values is not None), 0)


def _raster(a: LayerTrace, b: LayerTrace, sample: int, steps: int) -> LayerRaster:
    if a.events is None or b.events is None:
        return LayerRaster(a.path, a.neurons, (), ())
    ours, theirs = (values[0, :steps] for values in aligned(
        a.events[sample : sample + 1], b.events[sample : sample + 1], b.delay - a.delay
    ))  # fmt: skip
    return LayerRaster(a.path, a.neurons, _events(ours), _events(theirs))


def _events(values: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    places = np.argwhere(values)
    return tuple((int(t), int(n), int(values[t, n])) for t, n in places)
