"""Holding a graph against the model that it was captured from."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import same
from ..dag_module import DagModule
from ..errors import VerificationError
from .cloning import make_clone
from .inputs import call_with, on_device
from .kept import why_state_is_kept

__all__ = ["Reference", "compare", "preserved", "same_conditions"]


class Reference:
    """The model on a copy of its own: what it returns for a batch, which the graph has to return as well.

    Args:
        model: Left as it is.
        device: The meta device for a model that lives there; else None.
    """

    def __init__(self, model: nn.Module, device: torch.device | None) -> None:
        self.device = device
        self._clone = make_clone(model, device, clear_caches=False).module

    def run(self, batch: dict[str, Any], training: bool | None = None) -> Any:
        """Return the outputs for a batch, in another mode if asked for; buffers are put back."""
        with preserved(self._clone), in_other_mode(self._clone, training), same_conditions():
            return call_with(self._clone, on_device(batch, self.device))

    def why_state_is_kept(self, batch: dict[str, Any]) -> str:
        """Say what the model keeps from one call to the next in plain attributes; nothing if nothing."""
        return why_state_is_kept(self._clone, lambda: self.run(batch), compare)

    def verify(
        self,
        graph: DagModule,
        batch: dict[str, Any],
        expected: Any,
        what: str,
        training: bool | None = None,
    ) -> None:
        """Run the graph on a batch, in another mode if asked for.

        Raises:
            VerificationError: It differs in anything: containers, shapes, types or a single bit.
        """
        with preserved(graph), in_other_mode(graph, training), same_conditions():
            try:
                found = graph(**on_device(batch, self.device))
            except Exception as failure:
                kind = type(failure).__name__
                raise VerificationError(
                    f"The graph of {graph.name} fails on {what}, which the model takes: {kind}: {failure}"
                ) from failure
        problem = compare(expected, found)
        if problem:
            raise VerificationError(f"The graph of {graph.name} differs from the model on {what}: {problem}")


@contextmanager
def same_conditions() -> Iterator[None]:
    """Run with the same random numbers, without gradients, and on torch's ordinary attention path."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def in_other_mode(model: nn.Module, training: bool | None) -> Iterator[None]:
    """Put a model and all in it into a mode for a while; None for none."""
    modes = [(module, module.training) for module in nn.Module.modules(model)]
    try:
        if training is not None:
            nn.Module.train(model, training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put all buffers of a model back to what they were."""
    stored = [(module, dict(module._buffers)) for module in nn.Module.modules(model)]
    contents = {
        id(buffer): (buffer, buffer.clone())
        for _, buffers in stored
        for buffer in buffers.values()
        if buffer is not None and not buffer.is_meta
    }
    try:
        yield
    finally:
        for module, buffers in stored:
            module._buffers.clear()
            module._buffers.update(buffers)
        with torch.no_grad():
            for buffer, content in contents.values():
                if not torch.equal(buffer, content):
                    buffer.copy_(content)


def compare(expected: Any, found: Any, place: str = "the output") -> str | None:
    """Say in what way two outputs differ; None if they are equal to the last bit."""
    if isinstance(expected, Tensor) and isinstance(found, Tensor):
        return _compare_tensors(expected, found, place)
    if type(expected) is not type(found):
        return f"{place} is {type(found).__name__}, not {type(expected).__name__}."
    if isinstance(expected, list | tuple | dict):
        return _compare_containers(expected, found, place)
    return None if same(expected, found) else f"{place} is {found!r}, not {expected!r}."


def _compare_containers(expected: Any, found: Any, place: str) -> str | None:
    if isinstance(expected, dict):
        if list(expected) != list(found):
            return f"{place} has the keys {list(found)}, not {list(expected)}."
        keys: Iterable[Any] = expected
    else:
        if len(expected) != len(found):
            return f"{place} has {len(found)} elements, not {len(expected)}."
        keys = range(len(expected))
    problems = (compare(expected[key], found[key], f"{place}[{key!r}]") for key in keys)
    return next((problem for problem in problems if problem), None)


def _compare_tensors(expected: Tensor, found: Tensor, place: str) -> str | None:
    if expected.shape != found.shape:
        return f"{place} has shape {tuple(found.shape)}, not {tuple(expected.shape)}."
    if expected.dtype != found.dtype:
        return f"{place} is of type {found.dtype}, not {expected.dtype}."
    if expected.is_meta or found.is_meta:
        return None
    if torch.equal(expected, found):
        return None
    same = (expected == found) | (expected.isnan() & found.isnan())
    if bool(same.all()):
        return None
    difference = (expected - found).abs().max() if expected.is_floating_point() else (~same).sum()
    share = float((~same).float().mean())
    return f"{place} is off by up to {float(difference):.3g} in {share:.1%} of its elements."
