"""What a model keeps in plain attributes from one call to the next, which no graph has a place for."""

from collections import deque
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .cloning import INTERNAL_ATTRIBUTES

__all__ = ["why_state_is_kept"]

_CONTAINERS = (list, tuple, deque)


def why_state_is_kept(
    model: nn.Module, call: Callable[[], Any], difference: Callable[[Any, Any], str | None]
) -> str:
    """Say which plain attributes hold a state of the model; nothing if there are none.

    Args:
        model: The module that ``call`` runs.
        call: Returns the outputs for one and the same inputs; it is made twice. If the second call returns
            something else, or fails, the attributes that the first one changed are what it kept.
        difference: Says how two results differ; nothing if they are the same.
    """
    before = _attributes(model)
    marks = {path: _mark(value) for path, value in before.items()}
    texts = {path: _told(value) for path, value in before.items()}
    first = call()
    after = _attributes(model)
    changed = [path for path, value in after.items() if path not in marks or _mark(value) != marks[path]]
    if not changed:
        return ""
    told = [f"{path!r} ({texts.get(path, 'missing')} before, {_told(after[path])} after)"
            for path in changed]  # fmt: skip
    try:
        if not difference(first, call()):
            return ""
    except Exception:  # a state that does not fit the next call
        pass
    name = changed[0].rpartition(".")[2]
    return (
        f"{type(model).__name__} keeps a state in plain attributes, and the next call returns something else "
        f"for it: {', '.join(told[:4])}. A graph keeps a state in buffers: register_buffer({name!r}, "
        f"torch.zeros(...)) in __init__, and assign to self.{name} in forward. Or take the state as an input "
        "and return it."
    )


def _attributes(model: nn.Module) -> dict[str, Any]:
    found = {}
    for prefix, module in nn.Module.named_modules(model):
        for name, value in module.__dict__.items():
            if name not in INTERNAL_ATTRIBUTES:
                found[f"{prefix}.{name}" if prefix else name] = value
    return found


def _mark(value: Any) -> Any:
    """Return what tells whether a value changed; nothing for what is no number, tensor or list of them."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if value is None or isinstance(value, bool | int | float | complex):
        return value
    if isinstance(value, _CONTAINERS):
        return [_mark(item) for item in value]
    if isinstance(value, dict):
        return {key: _mark(item) for key, item in value.items()}
    return ""


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (*_CONTAINERS, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value) if value is None or isinstance(value, bool | int | float | complex) else "an object"
