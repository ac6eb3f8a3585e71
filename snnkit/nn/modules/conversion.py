"""Turning plain torch modules into TorchModules in place."""

from typing import Any, cast

from torch import nn

from snnkit.nn.modules.module import TorchModule

__all__ = ["convert"]

_CONVERTED: dict[type[nn.Module], type[TorchModule]] = {}


def convert(obj: nn.Module, retain_torch_api: bool = False) -> TorchModule:
    """Give ``obj`` the methods of TorchModule; see :meth:`TorchModule.from_torch`.

    ``obj`` remains an instance of its own class, and its children stay as they are.
    """
    if not isinstance(obj, nn.Module):
        raise TypeError(f"from_torch() takes a torch.nn.Module, not {type(obj).__name__}.")
    if isinstance(obj, TorchModule):
        return obj
    obj.__class__ = _converted_class(type(obj))
    converted = cast(TorchModule, obj)
    converted._set_up(None, False, False, retain_torch_api)
    return converted


def _converted_class(plain: type[nn.Module]) -> type[TorchModule]:
    if plain not in _CONVERTED:
        members = {"__module__": plain.__module__, "__doc__": plain.__doc__, "__reduce_ex__": _reduce}
        _CONVERTED[plain] = type(plain.__name__, (TorchModule, plain), members)
    return _CONVERTED[plain]


def _reduce(module: TorchModule, _protocol: int) -> tuple[Any, ...]:
    """Let pickle rebuild the class from the plain one, by whose name alone it cannot be found."""
    plain = next(plain for plain, converted in _CONVERTED.items() if converted is type(module))
    return _new_converted, (plain,), module.__getstate__()


def _new_converted(plain: type[nn.Module]) -> TorchModule:
    converted = _converted_class(plain)
    return converted.__new__(converted)
