"""Which tensors cannot be written in place, because of where their numbers lie."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

__all__ = ["unwritable"]


@dataclass(frozen=True, eq=False)
class _Span:
    """The bytes from the first to the last entry of a tensor."""

    name: str
    tensor: Tensor

    @property
    def start(self) -> int:
        return int(self.tensor.data_ptr())

    @property
    def entries(self) -> int:
        """Number of places from the first entry to the last."""
        steps = zip(self.tensor.shape, self.tensor.stride(), strict=True)
        return 1 + sum((n - 1) * stride for n, stride in steps)

    @property
    def end(self) -> int:
        return self.start + self.entries * self.tensor.element_size()


def unwritable(tensors: Mapping[str, Tensor], names: Collection[str]) -> list[str]:
    """Say why some of the tensors called ``names`` cannot be written without changing something else.

    Args:
        tensors: All parameters and buffers by path; tied ones are one object.
        names: Those that are to be written.
    """
    problems = []
    for name in names:
        tensor = tensors[name]
        if tensor.is_meta:
            problems.append(f"{name} is on the meta device and has no numbers")
        elif tensor.is_inference() and not torch.is_inference_mode_enabled():
            problems.append(f"{name} was made in torch.inference_mode() and can be changed only there")
    spans = [
        _Span(name, tensor)
        for name, tensor in tensors.items()
        if tensor.layout == torch.strided and not tensor.is_meta and tensor.numel()
    ]
    for span in spans:
        if span.name in names and prod(span.tensor.shape) > span.entries:
            problems.append(f"entries of {span.name} share memory: it was expanded; clone it")
    for one, other in _overlapping(spans):
        if one.name in names or other.name in names:
            problems.append(f"{other.name} shares memory with {one.name}, though they are two tensors")
    return problems


def _overlapping(spans: list[_Span]) -> Iterator[tuple[_Span, _Span]]:
    """Yield pairs of different tensors that have entries at one place."""
    open_: list[_Span] = []
    for span in sorted(spans, key=lambda span: (str(span.tensor.device), span.start)):
        device = span.tensor.device
        open_ = [other for other in open_ if other.tensor.device == device and other.end > span.start]
        for other in open_:
            if other.tensor is not span.tensor and _meet(other, span):
                yield other, span
        open_.append(span)


def _meet(one: _Span, other: _Span) -> bool:
    """Whether two tensors that reach into each other have entries in common."""
    if one.tensor.is_contiguous() and other.tensor.is_contiguous():
        return True
    if one.tensor.element_size() != other.tensor.element_size():
        return True  # as far as anyone needs to know
    return bool(torch.isin(_places(one), _places(other)).any())


def _places(span: _Span) -> Tensor:
    """Return the addresses of all entries."""
    offsets = torch.zeros((), dtype=torch.int64)
    for n, stride in zip(span.tensor.shape, span.tensor.stride(), strict=True):
        offsets = offsets[..., None] + torch.arange(n) * stride
    return span.start + offsets.ravel() * span.tensor.element_size()
