"""The torch module that keeps a record of each attribute declared on it."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from snnkit.nn.modules.attributes import Attribute, attribute_of, picklable_attribute, value_of
from snnkit.parameters import FixedInit, ParameterBase
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["DeclaringModule", "write_data"]


class DeclaringModule(nn.Module):
    """A torch module whose attributes can be declared with the classes of :mod:`snnkit.parameters`.

    A ``Parameter`` becomes an ``nn.Parameter``, a ``State`` a persistent buffer, a ``SimulationParameter``
    that is a tensor a buffer outside the ``state_dict``; other simulation parameters are plain attributes.
    """

    # Names of declared attributes that only some instances have, depending on the constructor's arguments.
    # A file may bring them along, or not have them.
    _optional_attributes: ClassVar[frozenset[str]] = frozenset()

    _registry: dict[str, Attribute]
    _name: str

    @property
    def _label(self) -> str:
        return f"{type(self).__name__} {self._name!r}" if self._name else type(self).__name__

    def _state_buffer(self, name: str) -> Tensor:
        """Return the value of the state called ``name``."""
        buffer = self._buffers[name]
        assert buffer is not None
        return buffer

    def __setattr__(self, name: str, value: Any) -> None:
        registry = self.__dict__.get("_registry")
        if isinstance(value, ParameterBase):
            if registry is None:
                raise ConfigurationError(
                    f"{type(self).__name__}: call super().__init__() before declaring {name!r}."
                )
            self._declare(name, value)
        elif registry is not None and name in registry:
            self._assign(name, value)
        else:
            super().__setattr__(name, value)
            if isinstance(value, DeclaringModule):
                value._name = name

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._registry.pop(name, None)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a child, as in torch; it takes ``name`` as its own."""
        super().add_module(name, module)
        if isinstance(module, DeclaringModule):
            module._name = name

    def _declare(self, name: str, declaration: ParameterBase) -> None:
        attribute = attribute_of(declaration)
        if name in self._registry:
            self._registry[name].check(f"{self._label}.{name}", declaration.data)
        self._install(name, attribute, value_of(attribute, declaration.data))

    def _install(self, name: str, attribute: Attribute, value: Any) -> None:
        """Put a value and its record in place of whatever has that name."""
        for store in (self.__dict__, self._parameters, self._buffers):
            store.pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        # Not through register_parameter(), which refuses names that a subclass answers in __getattr__.
        if attribute.kind == "Parameter":
            self._parameters[name] = value
        elif attribute.is_tensor:
            self._buffers[name] = value
            if attribute.kind == "SimulationParameter":
                self._non_persistent_buffers_set.add(name)
        else:
            super().__setattr__(name, value)
        self._registry[name] = attribute

    def _assign(self, name: str, value: Any) -> None:
        attribute = self._registry[name]
        if attribute.is_tensor or value is not None:
            attribute.check(f"{self._label}.{name}", value)
        if _was_declared_as_number(attribute):
            is_vector = isinstance(value, Tensor) and value.ndim > 0
            if attribute.is_tensor != is_vector:
                # One number for all becomes one for each, which moves with the module's buffers; or back.
                attribute = replace(attribute, is_tensor=is_vector)
                self._install(name, attribute, value_of(attribute, value))
                return
        if not attribute.is_tensor:
            super().__setattr__(name, value_of(attribute, value))
        elif attribute.kind != "Parameter":
            self._buffers[name] = value_of(attribute, value, like=self._buffers[name])
        elif isinstance(value, nn.Parameter) or self._parameters.get(name) is None:
            super().__setattr__(name, value)
        else:
            # The Parameter object stays, so that optimisers made before keep working on it.
            write_data(self._parameters[name], value_of(attribute, value, like=self._parameters[name]))

    def set_attributes(self, new_attributes: Mapping[str, Any]) -> Self:
        """Write the values of a tree, such as ``parameters()`` returns, into this module; return the module.

        Raises:
            ConfigurationError: a name in the tree is neither an attribute nor a submodule.
            ShapeError: a value has another shape than the attribute.
        """
        for name, value in new_attributes.items():
            child = self._modules.get(name)
            if isinstance(value, Mapping) and child is not None:
                _set_child_attributes(child, value)
            elif name in self._registry or (hasattr(self, name) and not hasattr(type(self), name)):
                setattr(self, name, value)
            else:
                known = [*self._registry, *self._modules]
                raise ConfigurationError(f"{self._label}: {unknown_key_message('attribute', name, known)}")
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # A stored state may have a batch axis that this module's has not, or the other way round.
        for name, attribute in self._registry.items():
            loaded = state_dict.get(prefix + name)
            if attribute.kind == "State" and isinstance(loaded, Tensor):
                declared = attribute.shape
                if tuple(loaded.shape) == declared or tuple(loaded.shape[1:]) == declared:
                    self._buffers[name] = self._state_buffer(name).new_empty(loaded.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new

    def __getstate__(self) -> dict[str, Any]:
        registry = {name: picklable_attribute(name, entry) for name, entry in self._registry.items()}
        return {**self.__dict__, "_registry": registry}


def _was_declared_as_number(attribute: Attribute) -> bool:
    return (
        attribute.kind == "SimulationParameter"
        and isinstance(attribute.init_func, FixedInit)
        and isinstance(attribute.init_func.value, int | float)
    )


def write_data(parameter: nn.Parameter | None, value: Tensor) -> None:
    """Put a value into a parameter that stays the same object; a gradient of another shape is dropped."""
    assert parameter is not None
    if parameter.shape != value.shape:
        parameter.grad = None
    parameter.data = value.detach()


def _set_child_attributes(child: nn.Module, values: Mapping[str, Any]) -> None:
    """Write a tree into a child, which may be a plain torch module."""
    if isinstance(child, DeclaringModule):
        child.set_attributes(values)
        return
    own = dict(child.named_parameters(recurse=False)) | dict(child.named_buffers(recurse=False))
    for name, value in values.items():
        grandchild = child._modules.get(name)
        if isinstance(value, Mapping) and grandchild is not None:
            _set_child_attributes(grandchild, value)
        elif name in own:
            own[name].data = value.detach().reshape(own[name].shape)
        else:
            message = unknown_key_message("attribute", name, [*own, *child._modules])
            raise ConfigurationError(f"{type(child).__name__}: {message}")
