"""From any torch model to its graph."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import leaves
from ..dag_module import DagModule
from ..errors import CaptureError, VerificationError
from ..signatures import Signature
from .building import build
from .cloning import make_clone
from .folding import drop_unused, fold_sizes
from .inputs import batch_axes, example_of, named_inputs, on_device, other_batch, specs_of
from .layers import Layers
from .modes import join_modes, reads_mode
from .nodes import Recording
from .recording import record
from .verification import Reference

__all__ = ["build_from_unstructured_module"]

_META = torch.device("meta")


Axes = dict[str, list[tuple[int, ...]]]
"""For each input, the free axes of each tensor in it."""


@dataclass(frozen=True)
class _Batch:
    """Inputs, what the model returns for them, and the axes that are not as in the example."""

    named: dict[str, Any]
    expected: Any
    axes: Axes

    @property
    def has_free_axes(self) -> bool:
        return any(any(entries) for entries in self.axes.values())


def build_from_unstructured_module(
    model: nn.Module, example_inputs: Any = None, copy: bool = False
) -> DagModule:
    """Return the graph of any torch model, which is left as it is.

    The model runs once on the example inputs (on the meta device where it can, so that neither time nor
    memory go into numbers), and every call of a layer or a torch function becomes a vertex. Modules that
    are not layers of ``torch.nn`` become nested graphs under their paths. The graph is then run against
    the model, on the example inputs and on another batch, and has to return the same bits.

    Args:
        model: In the mode (train or eval) in which the graph is to be; it holds for the other mode as well
            if the model takes the same way through its code there.
        example_inputs: A tuple of the model's arguments, or a mapping of keyword arguments: tensors, or
            containers of tensors. Axis 0 is taken to be the batch, which the graph leaves open. Without
            them the model's first layers tell what to try.
        copy: Give the graph parameters of its own; by default they are the model's.

    Raises:
        CaptureError: The model does what no graph can hold (its code decides on the numbers in a tensor),
            with the place in the model.
        VerificationError: The graph does not compute what the model does.
    """
    if not isinstance(model, nn.Module):
        raise CaptureError(f"A torch.nn.Module can be captured, not {type(model).__name__}.")
    named = named_inputs(model, example_of(model) if example_inputs is None else example_inputs)
    graph = _capture(model, named)
    return graph.copy() if copy else graph


def _capture(model: nn.Module, named: dict[str, Any]) -> DagModule:
    known = Layers(model).reading(model)
    if isinstance(known, DagModule):
        return _checked(known, model, named)
    is_meta = any(tensor.is_meta for tensor in (*nn.Module.parameters(model), *model.buffers()))
    reference = Reference(model, _META if is_meta else None)
    others = _other_batches(reference, named)
    attempts = [(_META, True), (_META, False), *([] if is_meta else [(None, True), (None, False)])]
    errors: list[Exception] = []
    for device, functional in attempts:
        for other in others:
            try:
                graph = _attempt(model, named, other, device, functional)
                _verify(graph, reference, named, other)
                _verify_other_mode(graph, model, reference, named)
            except VerificationError as mismatch:
                errors.append(mismatch)
            except Exception as failure:  # a model may fail in any way on the meta device
                errors.append(failure)
                break
            else:
                return graph
    raise _reason(model, Reference(model, reference.device), named, errors)


def _checked(graph: DagModule, model: nn.Module, named: dict[str, Any]) -> DagModule:
    """Return the graph that a model gives of itself, once it is found to be right."""
    inputs = dict(zip((vertex.name for vertex in graph.input_vertices), named.values(), strict=True))
    reference = Reference(model, None)
    reference.verify(graph, inputs, reference.run(named), "the example inputs")
    batch = other_batch(named, batch_axes(named))
    renamed = dict(zip(inputs, batch.values(), strict=True))
    reference.verify(graph, renamed, reference.run(batch), "another batch than the example")
    axes = {name: [tuple(range(leaf.dim())) for leaf in leaves(value) if isinstance(leaf, Tensor)]
            for name, value in inputs.items()}  # fmt: skip
    graph.signature = Signature(specs_of(inputs, axes))
    return graph


def _verify(graph: DagModule, reference: Reference, named: dict[str, Any], other: _Batch) -> None:
    if reference.device is None:
        # On the meta device the recording itself was the run on the example.
        reference.verify(graph, named, reference.run(named), "the example inputs")
    expected = other.expected if other.has_free_axes else reference.run(other.named)
    reference.verify(graph, other.named, expected, "another batch than the example")


def _verify_other_mode(
    graph: DagModule, model: nn.Module, reference: Reference, named: dict[str, Any]
) -> None:
    """Let the graph hold for the model's present mode only if it differs from the model in the other."""
    signature = graph.signature
    assert signature is not None
    if reference.device is not None or signature.training is not None or not reads_mode(Layers(model)):
        return
    mode = not model.training
    try:
        expected = reference.run(named, mode)
        reference.verify(graph, named, expected, "the example inputs in the other mode", mode)
    except Exception as failure:  # whatever the model does in the other mode
        graph.signature = replace(signature, training=model.training, why_mode=str(failure))


def _reason(
    model: nn.Module, reference: Reference, named: dict[str, Any], errors: list[Exception]
) -> Exception:
    """Return what to tell the user: the last attempt is the most faithful one."""
    try:
        reference.run(named)
    except Exception as error:
        kind = type(model).__name__
        failure = CaptureError(f"{kind} itself fails on the example inputs: {type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure
    kept = Reference(model, reference.device).why_state_is_kept(named)
    if kept:
        failure = CaptureError(kept)
        failure.__cause__ = errors[-1]
        return failure
    known = [error for error in errors if isinstance(error, CaptureError)]
    found = [error for error in known if isinstance(error, VerificationError)] or known
    if found:
        return found[-1]
    last = errors[-1]
    reason = CaptureError(f"{type(model).__name__} could not be captured: {type(last).__name__}: {last}")
    reason.__cause__ = last
    return reason


def _other_batches(reference: Reference, named: dict[str, Any]) -> list[_Batch]:
    """Return other inputs to verify with: with more elements in the batch if the model takes such.

    The last one has the example's sizes: for a model that keeps to them in a way that capture cannot follow.
    """
    axes = batch_axes(named)
    first_only = _first_tensor_only(axes)
    found = []
    for candidate in (axes, first_only) if first_only != axes else (axes,):
        try:
            batch = other_batch(named, candidate)
            found.append(_Batch(batch, reference.run(batch), candidate))
        except Exception:
            continue
        break
    return [*found, _same_size(named)]


def _same_size(named: dict[str, Any]) -> _Batch:
    none: Axes = {
        name: [() for leaf in leaves(value) if isinstance(leaf, Tensor)] for name, value in named.items()
    }
    batch = other_batch(named, none)
    return _Batch(batch, None, none)


def _first_tensor_only(axes: dict[str, list[tuple[int, ...]]]) -> dict[str, list[tuple[int, ...]]]:
    for name, entries in axes.items():
        if any(entries):
            position = next(i for i, entry in enumerate(entries) if entry)
            return {
                key: [(0,) if key == name and i == position else () for i in range(len(value))]
                for key, value in axes.items()
            }
    return axes


def _attempt(
    model: nn.Module, named: dict[str, Any], other: _Batch, device: torch.device | None, functional: bool
) -> DagModule:
    layers = Layers(model)
    clone = make_clone(model, device)
    recording = record(clone, layers, named, device, functional)
    why_mode = _join_other_mode(recording, layers, named, device, functional)
    if why_mode:
        # It is half joined: begin anew, for this mode alone.
        clone = make_clone(model, device)
        recording = record(clone, layers, named, device, functional)
    changed = on_device(other.named, device) if other.has_free_axes else None
    problem = fold_sizes(recording, clone, changed)
    drop_unused(recording)
    graph = build(recording, type(model).__name__)
    signature = _signature(recording, named, other, problem)
    if why_mode:
        signature = replace(signature, training=model.training, why_mode=why_mode)
    graph.signature = signature
    return graph


def _join_other_mode(
    recording: Recording, layers: Layers, named: dict[str, Any], device: torch.device | None, functional: bool
) -> str:
    """Make the recording hold in both modes; return why it cannot, or nothing if it does."""
    if not reads_mode(layers):
        return ""
    model = layers.model
    clone = make_clone(model, device)
    nn.Module.train(clone.module, not model.training)
    try:
        other = record(clone, layers, named, device, functional)
        join_modes(recording, other, model.training)
    except Exception as failure:  # whatever the model does in the other mode
        return str(failure) or type(failure).__name__
    return ""


def _signature(recording: Recording, named: dict[str, Any], other: _Batch, problem: str) -> Signature:
    axes = other.axes
    why = "Its code works with sizes of tensors, and the graph holds for those of the example."
    if problem:
        axes = {name: [() for _ in entries] for name, entries in axes.items()}
        why = f"{why} Another batch was tried, but {problem}"
    elif not recording.reads_sizes and other.has_free_axes:
        every = {
            name: [leaf for leaf in leaves(value) if isinstance(leaf, Tensor)]
            for name, value in named.items()
        }
        axes = {name: [tuple(range(leaf.dim())) for leaf in found] for name, found in every.items()}
    return Signature(specs_of(named, axes), why)
