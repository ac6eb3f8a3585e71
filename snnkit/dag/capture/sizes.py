"""Sizes that remember where they come from, so that a graph can compute them anew."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recorder import Recorder

__all__ = ["Decision", "TracedInt", "place_of_call"]

_PACKAGE = str(Path(__file__).resolve().parents[1])


def place_of_call() -> str:
    """Return file and line of the code that called into torch or this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) and "/torch/" not in name and not name.startswith("<"):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return "an unknown place"


class TracedInt(int):
    """A size of a tensor, or the result of arithmetic with one: an int to everybody but the recorder."""

    recorder: "Recorder"
    function: str
    operands: tuple[Any, ...]

    def __new__(cls, value: int, recorder: "Recorder", function: str, *operands: Any) -> "TracedInt":
        """Make a size of ``value`` that is ``function(*operands)``."""
        traced = super().__new__(cls, value)
        traced.recorder, traced.function, traced.operands = recorder, function, operands
        return traced

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)

    def __deepcopy__(self, memo: Any) -> int:
        return int(self)

    __hash__ = int.__hash__

    def __bool__(self) -> bool:
        return bool(_compare(self, "ne", 0))


class Decision:
    """The result of a comparison with a traced size: a guard is recorded when the model acts on it."""

    def __init__(self, value: bool, recorder: "Recorder", operands: tuple[Any, ...]) -> None:
        self.value, self.recorder, self.operands = value, recorder, operands

    def __bool__(self) -> bool:
        if self.recorder.is_tracing:
            self.recorder.note_decision(self)
        return self.value

    def __repr__(self) -> str:
        return repr(self.value)


def _arithmetic(name: str, function: str, reverse: bool) -> Any:
    compute = getattr(int, name)

    def method(self: TracedInt, *others: Any) -> Any:
        result = compute(self, *others)
        if type(result) is not int or not self.recorder.is_tracing:
            return result
        operands = (*others, self) if reverse else (self, *others)
        return TracedInt(result, self.recorder, function, *operands)

    return method


def _compare(traced: TracedInt, function: str, other: Any) -> Any:
    result = getattr(int, f"__{function}__")(traced, other)
    if result is NotImplemented or not traced.recorder.is_tracing:
        return result
    return Decision(result, traced.recorder, (function, (traced, other)))


def _comparison(function: str) -> Any:
    return lambda self, other: _compare(self, function, other)


for _name in ("add", "sub", "mul", "floordiv", "mod", "pow"):
    setattr(TracedInt, f"__{_name}__", _arithmetic(f"__{_name}__", _name, reverse=False))
    setattr(TracedInt, f"__r{_name}__", _arithmetic(f"__r{_name}__", _name, reverse=True))
for _name in ("neg", "abs"):
    setattr(TracedInt, f"__{_name}__", _arithmetic(f"__{_name}__", _name, reverse=False))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(TracedInt, f"__{_name}__", _comparison(_name))
