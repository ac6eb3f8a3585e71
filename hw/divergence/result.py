"""What a comparison found: plain frozen data, without torch, that goes to JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from snnkit.utilities.errors import FileFormatError, unknown_key_message

__all__ = ["CAUSES", "Alteration", "Comparison", "Divergence", "LayerAgreement", "LayerRaster"]

FORMAT = "snnkit comparison"
VERSION = 1

CAUSES = {
    "noise": "one side draws random numbers",
    "float precision": "in 64-bit floats a sum of the network falls on the other side of a threshold",
    "delay": "events take one step for each hop between layers",
    "bias": "a constant input acts on the membrane, from the first step on",
    "clipped events": "the sides allow different numbers of events in a step",
    "dash rounding": "decays are bit shifts",
    "decay": "the decays differ",
    "weight rounding": "weights are integers",
    "weight": "the weights differ",
    "threshold rounding": "thresholds are integers",
    "threshold": "the thresholds differ",
    "bias rounding": "biases are integers",
    "integer states": "states are whole numbers, and each decay is rounded",
    "saturation": "states are limited to 16 bits",
    "altered parameter": "a parameter of the program is another",
    "kept state": "a run began with the states that the one before had left",
    "not attributed": "no single change explains it",
}
"""Every cause that a :class:`Divergence` may name, and what it means."""


@dataclass(frozen=True)
class Alteration:
    """One parameter that differs, or would have to differ to explain what was seen.

    Attributes:
        parameter: field of the specification, such as ``"weights_rec"`` or ``"threshold_out"``.
        layer: path of the neuron whose parameter it is: for weights the target, for aliases the source. Empty
            for weight shifts, which all neurons share.
        neuron: within the layer, None for weight shifts.
        source: where a weight comes from, such as ``"input 3"`` or ``"1_LIFTorch neuron 4"``; else empty.
        a_value: on the first side; aliases as the list of targets.
        b_value: on the second side.
        b_range: lowest and highest value around ``b_value`` that explain as much, None if it is known.
        explained: share of the samples that agree in every recorded value with this alteration alone; None
            where the difference of two known programs is named.
    """

    parameter: str
    layer: str
    neuron: int | None
    source: str
    a_value: int | str
    b_value: int | str
    b_range: tuple[int, int] | None = None
    explained: float | None = None

    @property
    def place(self) -> str:
        """Where it is, such as ``"weights_in of 1_LIFTorch neuron 4 from input 3"``."""
        where = f" of {self.layer} neuron {self.neuron}" if self.layer else ""
        return f"{self.parameter}{where}{f' from {self.source}' if self.source else ''}"

    def __str__(self) -> str:
        text = f"{self.place}: {self.a_value} on the first side, {self.b_value} on the second"
        if self.b_range is not None and self.b_range[0] != self.b_range[1]:
            text += f" (any of {self.b_range[0]}..{self.b_range[1]} fits)"
        return text


@dataclass(frozen=True)
class Divergence:
    """The first place where two sides differ.

    Attributes:
        time: step in the time of the side that is earlier, from 0; the layer's delay is added on the other.
        layer: module path of the population.
        neuron: within the layer.
        a_value: on the first side.
        b_value: on the second side.
        reason: what made the difference, in words.
        sample: place in the batch.
        quantity: ``"events"`` in the step, or the state ``"Isyn"``, ``"Isyn2"`` or ``"Vmem"`` after it.
        cause: one of :data:`CAUSES`.
        candidates: the parameters that explain it, most likely first.
        a: what the first side is called.
        b: what the second side is called.
    """

    time: int
    layer: str
    neuron: int
    a_value: float
    b_value: float
    reason: str
    sample: int
    quantity: str = "events"
    cause: str = "not attributed"
    candidates: tuple[Alteration, ...] = ()
    a: str = "net"
    b: str = "chip"

    def __str__(self) -> str:
        return (
            f"sample {self.sample}, step {self.time}, {self.layer} neuron {self.neuron}: {self.quantity} "
            f"{self.a_value:g} ({self.a}), {self.b_value:g} ({self.b}). {self.reason}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "Divergence":
        """Read what :meth:`to_json` wrote; anything else raises FileFormatError."""
        values = _known(cls, table)
        values["candidates"] = tuple(_alteration(entry) for entry in values.get("candidates", ()))
        return _made(cls, values)


@dataclass(frozen=True)
class LayerAgreement:
    """One layer on both sides, moved onto each other.

    Attributes:
        path: module path.
        neurons: how many.
        delay: steps by which the second side lags the first here (below 0: leads).
        a_events: events in all on the first side; None if a side does not tell events.
        b_events: the same on the second side.
        same_events: share of neurons and steps with the same number of events.
        rate_error: mean absolute difference of the neurons' event counts in each sample, over the mean count
            of the busier side (0 if both are silent).
        spike_distance: mean absolute difference of events smoothed over 10 steps (exponentially, in the
            manner of van Rossum), over the mean of the busier side: small shifts in time cost little.
        state_error: mean absolute difference of the membrane states after each step, in thresholds; None if
            a side does not tell them.
        first_step: earliest step with a difference, None if there is none.
        error_over_time: share of neurons and samples that differ in events, for each step.
    """

    path: str
    neurons: int
    delay: int
    a_events: int | None
    b_events: int | None
    same_events: float | None
    rate_error: float | None
    spike_distance: float | None
    state_error: float | None
    first_step: int | None
    error_over_time: tuple[float, ...]


@dataclass(frozen=True)
class LayerRaster:
    """Events of one sample in one layer: ``(step, neuron, events)``, in the time of the earlier side."""

    path: str
    neurons: int
    a: tuple[tuple[int, int, int], ...]
    b: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Comparison:
    """How far two sides agree; prints as a table.

    Attributes:
        a: what the first side is called.
        b: what the second side is called.
        samples: rasters compared.
        steps: time steps of each.
        layers: agreement of each layer, from the input to the outputs.
        divergence: where they first differ and why, None if nowhere.
        sample: the sample of ``rasters``: that of the first difference, 0 without one.
        rasters: its events, for :meth:`plot`.
    """

    a: str
    b: str
    samples: int
    steps: int
    layers: tuple[LayerAgreement, ...]
    divergence: Divergence | None
    sample: int
    rasters: tuple[LayerRaster, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing that both sides tell differs."""
        return self.divergence is None

    def __str__(self) -> str:
        from .table import comparison_text

        return comparison_text(self)

    def plot(self, axes: Any = None) -> Any:
        """Draw both rasters of one sample with their differences marked, and the error over time.

        Args:
            axes: matplotlib Axes for the rasters; the error is drawn into an inset below its upper edge. By
                default a new figure is made.

        Returns:
            The Axes of the rasters.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from .plot import plot_comparison

        return plot_comparison(self, axes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "Comparison":
        """Read what :meth:`to_json` returned; anything else raises FileFormatError."""
        if not isinstance(table, Mapping) or table.get("format") != FORMAT:
            raise FileFormatError("This is no comparison of two runs.")
        if table.get("version") != VERSION:
            raise FileFormatError(
                f"The comparison has version {table.get('version')}; this release reads version {VERSION}."
            )
        values = _known(cls, {key: value for key, value in table.items() if key not in ("format", "version")})
        divergence = values.get("divergence")
        values["divergence"] = None if divergence is None else Divergence.from_json(divergence)
        values["layers"] = tuple(_layer(entry) for entry in values.get("layers", ()))
        values["rasters"] = tuple(_raster(entry) for entry in values.get("rasters", ()))
        return _made(cls, values)


def _alteration(entry: Any) -> Alteration:
    values = _known(Alteration, entry)
    if values.get("b_range") is not None:
        values["b_range"] = tuple(values["b_range"])
    return _made(Alteration, values)


def _layer(entry: Any) -> LayerAgreement:
    values = _known(LayerAgreement, entry)
    return _made(LayerAgreement, values | {"error_over_time": tuple(values.get("error_over_time", ()))})


def _raster(entry: Any) -> LayerRaster:
    values = _known(LayerRaster, entry)
    events = {side: tuple(tuple(event) for event in values.get(side, ())) for side in ("a", "b")}
    return _made(LayerRaster, values | events)


def _known(cls: type, table: Any) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise FileFormatError(f"{cls.__name__} is damaged: {type(table).__name__} instead of an object.")
    names = [f.name for f in fields(cls)]
    unknown = [key for key in table if key not in names]
    if unknown:
        raise FileFormatError(unknown_key_message(f"field of {cls.__name__}", str(unknown[0]), names))
    return dict(table)


def _made(cls: type, values: Mapping[str, Any]) -> Any:
    try:
        return cls(**values)
    except TypeError as error:
        raise FileFormatError(f"{cls.__name__} is damaged: {error}") from error
