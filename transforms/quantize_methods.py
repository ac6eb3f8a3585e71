"""``global_quantize`` and ``channel_quantize`` of a float specification, under Rockpool's signatures.

Both take a specification as a dictionary of arrays and return the integer arrays to put in their place::

    spec.update(global_quantize(**spec))

:func:`snnkit.hw.xylo.deploy` does more: it chooses scales from observed states, and reports what it cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ParameterError, ShapeError, SnnkitError, unknown_key_message

__all__ = ["QuantizeArgumentError", "channel_quantize", "global_quantize"]

Array = np.ndarray

# What a specification may hold besides; it is left as it is.
_PASSED_OVER = (
    "mapped_graph",
    "weight_shift_in",
    "weight_shift_rec",
    "weight_shift_out",
    "aliases",
    "dt",
)
_QUANTISED = (
    *("weights_in", "weights_rec", "weights_out", "threshold", "threshold_out", "bias", "bias_out"),
    *("dash_mem", "dash_mem_out", "dash_syn", "dash_syn_2", "dash_syn_out", "bias_hidden"),
)
_REQUIRED = ("weights_in", "weights_rec", "weights_out", "threshold", "threshold_out")
_OPTIONS = ("fuzzy_scaling", "bits_per_weight", "bits_per_threshold")


class QuantizeArgumentError(SnnkitError, TypeError):
    """A keyword that is neither a specification key nor an option."""


@dataclass(frozen=True)
class _Limits:
    """Largest magnitudes."""

    weight: int
    threshold: int

    @classmethod
    def of(cls, bits_per_weight: int, bits_per_threshold: int) -> "_Limits":
        for name, bits in (("bits_per_weight", bits_per_weight), ("bits_per_threshold", bits_per_threshold)):
            if bits < 2:
                raise ParameterError(f"{name} is {bits}; signed integers need 2 or more.")
        return cls(2 ** (bits_per_weight - 1) - 1, 2 ** (bits_per_threshold - 1) - 1)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Everything that is scaled together: matrices (sources, N, S), threshold and bias (N,), all float64."""

    matrices: dict[str, Array]
    threshold: Array
    bias: Array | None


def global_quantize(  # noqa: PLR0917  (Rockpool's arguments)
    weights_in: Any,
    weights_rec: Any,
    weights_out: Any,
    threshold: Any,
    threshold_out: Any,
    dash_mem: Any,
    dash_mem_out: Any,
    dash_syn: Any,
    dash_syn_2: Any = None,
    dash_syn_out: Any = None,
    bias: Any = None,
    bias_out: Any = None,
    fuzzy_scaling: bool = False,
    bits_per_weight: int = 8,
    bits_per_threshold: int = 16,
    bias_hidden: Any = None,
    **other: Any,
) -> dict[str, Array]:
    """Quantise with one scale for the hidden and one for the output neurons.

    The scale is the largest at which weights and biases fit ``bits_per_weight`` and thresholds fit
    ``bits_per_threshold``; weights, thresholds and biases are multiplied by it and rounded once, half to
    even. With ``fuzzy_scaling`` the weights are scaled by ``|mean| + 2 std`` of the non-zero ones instead of
    by their maximum, and outliers are clipped.

    Args:
        weights_in: ``(Nin, Nien[, S])``.
        weights_rec: ``(Nhid, Nhid[, S])``.
        weights_out: ``(Noen, Nout)``.
        threshold: ``(Nhid,)``, greater than 0.
        threshold_out: ``(Nout,)``, greater than 0.
        dash_mem: ``(Nhid,)`` float bit shifts, and so are all other dashes.
        dash_mem_out: ``(Nout,)``.
        dash_syn: ``(Nhid,)``.
        dash_syn_2: ``(Nhid,)`` or None.
        dash_syn_out: ``(Nout,)``.
        bias: ``(Nhid,)`` or None.
        bias_out: ``(Nout,)`` or None.
        fuzzy_scaling: see above.
        bits_per_weight: bits of signed weights and biases.
        bits_per_threshold: bits of signed thresholds.
        bias_hidden: another name of ``bias``.
        other: the remaining keys of a specification (shifts, aliases, ``dt``, ``mapped_graph``), passed over.

    Returns:
        The integer arrays, weights in and rec ``(.., .., S)``. Thresholds are at least 1, dashes 1 to 15.

    Raises:
        QuantizeArgumentError: for a keyword that no specification has.
        ParameterError: a threshold is not greater than 0, or a value is not finite.
        ShapeError: arrays do not fit each other.
    """
    arrays = {name: value for name, value in locals().items() if name in _QUANTISED}
    _refuse_unknown(other)
    limits = _Limits.of(bits_per_weight, bits_per_threshold)

    def scale(layer: _Layer) -> Array:
        largest = np.array([_weight_size(layer, fuzzy_scaling)])
        return _scale(largest, layer.threshold.max(initial=0.0), layer.bias, limits, per_neuron=False)

    return _quantise(arrays, scale, limits)


def channel_quantize(  # noqa: PLR0917  (Rockpool's arguments)
    weights_in: Any,
    weights_rec: Any,
    weights_out: Any,
    threshold: Any,
    threshold_out: Any,
    dash_mem: Any,
    dash_mem_out: Any,
    dash_syn: Any,
    dash_syn_2: Any = None,
    dash_syn_out: Any = None,
    bias: Any = None,
    bias_out: Any = None,
    bits_per_weight: int = 8,
    bits_per_threshold: int = 16,
    bias_hidden: Any = None,
    **other: Any,
) -> dict[str, Array]:
    """Quantise with a scale for each neuron, set by its own incoming weights (both synapses together).

    Arguments, result and errors as :func:`global_quantize`, which has one scale for a whole layer.
    """
    arrays = {name: value for name, value in locals().items() if name in _QUANTISED}
    _refuse_unknown(other)
    limits = _Limits.of(bits_per_weight, bits_per_threshold)

    def scale(layer: _Layer) -> Array:
        peaks = [np.abs(matrix).max(axis=(0, 2), initial=0.0) for matrix in layer.matrices.values()]
        return _scale(np.max(peaks, axis=0), layer.threshold, layer.bias, limits, per_neuron=True)

    return _quantise(arrays, scale, limits)


def _scale(weight: Array, threshold: Array, bias: Array | None, limits: _Limits, per_neuron: bool) -> Array:
    """Return the largest factor that keeps all limits: (N,), or (1,) for the layer."""
    with np.errstate(divide="ignore"):
        candidates = [limits.weight / weight, limits.threshold / np.atleast_1d(threshold)]
        if bias is not None and bias.size:
            size = np.abs(bias) if per_neuron else np.abs(bias).max(keepdims=True)
            candidates.append(limits.weight / size)
        result: Array = np.min(np.broadcast_arrays(*candidates), axis=0)
    return np.where(np.isfinite(result), result, 1.0)


def _weight_size(layer: _Layer, fuzzy: bool) -> float:
    values = np.concatenate([matrix.ravel() for matrix in layer.matrices.values()])
    values = values[values != 0]
    if not values.size:
        return 0.0
    return float(abs(values.mean()) + 2 * values.std()) if fuzzy else float(np.abs(values).max())


def _quantise(arrays: Mapping[str, Any], scale: Any, limits: _Limits) -> dict[str, Array]:
    hidden, output = _layers(arrays)
    result: dict[str, Array] = {}
    for layer, suffix in ((hidden, ""), (output, "_out")):
        factor = scale(layer)
        for name, matrix in layer.matrices.items():
            per_target = np.broadcast_to(factor, layer.threshold.shape)[:, None]
            result[name] = _rounded(matrix * per_target, limits.weight)
        result[f"threshold{suffix}"] = np.maximum(_rounded(layer.threshold * factor, limits.threshold), 1)
        if layer.bias is not None:
            result[f"bias{suffix}"] = _rounded(layer.bias * factor, limits.weight)
    width = _number_array(arrays["weights_in"]).shape[1]
    result["weights_in"] = result["weights_in"][:, :width]
    result["weights_out"] = result["weights_out"][:, :, 0]
    if arrays["bias_hidden"] is not None:
        result["bias_hidden"] = result.pop("bias")
    return result | _dashes(arrays)


def _layers(arrays: Mapping[str, Any]) -> tuple[_Layer, _Layer]:
    if arrays["bias"] is not None and arrays["bias_hidden"] is not None:
        raise ParameterError("bias and bias_hidden are two names of one array; give one of them.")
    missing = [name for name in _REQUIRED if arrays[name] is None]
    if missing:
        raise ParameterError(f"{', '.join(missing)} must be given to quantise a specification.")
    recurrent, out = _matrix(arrays, "weights_rec"), _matrix(arrays, "weights_out")
    inputs = _matrix(arrays, "weights_in")
    hidden, outputs = recurrent.shape[1], out.shape[1]
    if inputs.shape[1] > hidden or inputs.shape[2] != recurrent.shape[2] or recurrent.shape[0] != hidden:
        raise ShapeError(
            f"weights_in {inputs.shape} and weights_rec {recurrent.shape} do not fit: (Nin, Nien, S) with "
            "Nien <= Nhid, and (Nhid, Nhid, S)."
        )
    # Hidden neurons beyond the input window have no input weights.
    inputs = np.pad(inputs, ((0, 0), (0, hidden - inputs.shape[1]), (0, 0)))
    bias = arrays["bias"] if arrays["bias"] is not None else arrays["bias_hidden"]
    return (
        _Layer(
            {"weights_in": inputs, "weights_rec": recurrent},
            _threshold(arrays, "threshold", hidden),
            None if bias is None else _vector(bias, "bias", hidden),
        ),
        _Layer(
            {"weights_out": out},
            _threshold(arrays, "threshold_out", outputs),
            None if arrays["bias_out"] is None else _vector(arrays["bias_out"], "bias_out", outputs),
        ),
    )


def _number_array(values: Any) -> Array:
    return np.array(values, dtype=np.float64)


def _matrix(arrays: Mapping[str, Any], name: str) -> Array:
    values = _number_array(arrays[name])
    if values.ndim not in (2, 3) or (name == "weights_out" and values.ndim != 2):
        wanted = "(Noen, Nout)" if name == "weights_out" else "(sources, targets) or (sources, targets, S)"
        raise ShapeError(f"{name} has shape {values.shape}; {wanted} is needed.")
    _require_finite(values, name)
    return values[:, :, None] if values.ndim == 2 else values


def _vector(values: Any, name: str, size: int) -> Array:
    array = _number_array(values)
    if array.shape not in ((), (1,), (size,)):
        raise ShapeError(f"{name} has shape {array.shape}; ({size},) is needed.")
    _require_finite(array, name)
    return np.broadcast_to(array, (size,)).copy()


def _threshold(arrays: Mapping[str, Any], name: str, size: int) -> Array:
    values = _vector(arrays[name], name, size)
    if (values <= 0).any():
        raise ParameterError(f"The lowest {name} is {values.min()}; thresholds must be greater than 0.")
    return values


def _dashes(arrays: Mapping[str, Any]) -> dict[str, Array]:
    result = {}
    for name in ("dash_mem", "dash_mem_out", "dash_syn", "dash_syn_2", "dash_syn_out"):
        if arrays[name] is not None:
            values = _number_array(arrays[name])
            _require_finite(values, name)
            # A second synapse that is not there has dash 0, which harms nobody.
            unused = name == "dash_syn_2" and not values.any()
            result[name] = np.clip(np.round(values), 0 if unused else Chip.min_dash, Chip.max_dash).astype(
                int
            )
    return result


def _rounded(values: Array, limit: int) -> Array:
    return np.clip(np.round(values), -limit, limit).astype(np.int64)


def _require_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        raise ParameterError(f"{name} holds values that are not finite; they have no integer.")


def _refuse_unknown(other: Mapping[str, Any]) -> None:
    for name in other:
        if name not in _PASSED_OVER:
            known = (*_QUANTISED, *_OPTIONS, *_PASSED_OVER)
            raise QuantizeArgumentError(unknown_key_message("keyword argument", name, known))
