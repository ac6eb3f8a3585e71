"""The modules that a patched network has in place of its own: one for parameters, one for activity.

A wrapper behaves as the module inside towards everything around it: same call, same recordings, same
``state_dict`` keys, same attributes. The stored parameters stay as they are; the transformed values exist
only for the length of a call (``torch.func.functional_call``).
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from snnkit.dag import DagModule
from snnkit.nn.combinators.containers import add_child_vertex
from snnkit.nn.modules import TorchModule
from snnkit.utilities.errors import ConfigurationError, ShapeError, unknown_key_message

from .base import ParameterTransform
from .modes import deterministic_transforms, is_deterministic

__all__ = ["ActWrapper", "ModuleValues", "TWrapper", "core_of", "own_tensors", "with_values"]

Transform = Callable[[Tensor], Tensor]
JointTransform = Callable[[dict[str, Any]], Mapping[str, Any]]

_INNER = "_mod"


def core_of(module: nn.Module) -> nn.Module:
    """Return the module itself, or what stands inside its wrappers."""
    while isinstance(module, _Wrapper):
        module = module._mod
    return module


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return what transforms of this very module may change: its parameters and constant parameters."""
    found: dict[str, Tensor] = {
        name: value for name, value in module._parameters.items() if value is not None
    }
    registry = module.__dict__.get("_registry", {})
    for name, value in module._buffers.items():
        if value is not None and name in registry and registry[name].kind == "SimulationParameter":
            found[name] = value
    return found


def with_values(module: nn.Module, values: Mapping[str, Tensor]) -> Any:
    """Return a shallow copy of a module that holds other parameters, to read what it derives from them."""
    shadow = copy.copy(module)
    shadow.__dict__["_parameters"] = {
        name: values.get(name, value) for name, value in module._parameters.items()
    }
    shadow.__dict__["_buffers"] = {name: values.get(name, value) for name, value in module._buffers.items()}
    return shadow


class ModuleValues(dict[str, Any]):
    """What a joint transform gets: ``{name: value}`` of a module's parameters, and the ``module`` itself."""

    def __init__(self, values: Mapping[str, Any], module: nn.Module) -> None:
        super().__init__(values)
        self.module = module


class _Wrapper(TorchModule):
    """A module around one other, which is to the outside what that one is."""

    _mod: nn.Module

    def __init__(self, mod: nn.Module) -> None:
        ours = mod if isinstance(mod, TorchModule) else None
        super().__init__(
            shape=ours.shape if ours else None,
            spiking_input=ours.spiking_input if ours else False,
            spiking_output=ours.spiking_output if ours else False,
        )
        self._torch_api = ours._torch_api if ours else True
        self._torch_call = ours._torch_call if ours else True
        self._name = ours._name if ours else ""
        self.training = mod.training
        self.add_module(_INNER, mod)
        self.register_load_state_dict_post_hook(_report_bare_keys)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call as the module inside is called."""
        if self._torch_call:
            return nn.Module.__call__(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("_modules", {}).get(_INNER)
            if inner is None or name.startswith("_"):
                raise
            return getattr(inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        inner = self.__dict__.get("_modules", {}).get(_INNER)
        own = name.startswith("_") or name in self.__dict__ or hasattr(type(self), name)
        if inner is not None and not own and hasattr(inner, name):
            setattr(inner, name, value)
        else:
            super().__setattr__(name, value)

    def state_dict(  # type: ignore[override]
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Return the state of the module inside, under the keys that it has without a wrapper."""
        names = ("destination", "prefix", "keep_vars")
        given = {"destination": destination, "prefix": prefix, "keep_vars": keep_vars}
        given |= dict(zip(names, args, strict=False))
        state: dict[str, Any] = self._mod.state_dict(**given)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        inner = f"{prefix}{_INNER}."
        for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(inner)]:
            state_dict[inner + key[len(prefix) :]] = state_dict.pop(key)
        for name, child in self._modules.items():
            if name != _INNER and child is not None:
                # A transform's memory is not part of a network's state_dict: it stays as it is.
                for key, value in nn.Module.state_dict(child, prefix=f"{prefix}{name}.").items():
                    state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _run_inner(self, args: tuple[Any, ...], kwargs: dict[str, Any], values: dict[str, Tensor]) -> Any:
        """Call the module inside with ``values`` in place of its own; take over what it records."""
        inner = self._mod
        if isinstance(inner, TorchModule) and not inner._torch_call:
            kwargs = {**kwargs, "record": self._record}
            output, _, self._record_dict = functional_call(inner, values, args, kwargs)
            return output
        return functional_call(inner, values, args, kwargs)


class TWrapper(_Wrapper):
    """A module whose parameters pass through transforms whenever it is called.

    Args:
        mod: the module.
        T_config: parameter name -> transform, or a sequence of transforms that apply in order. The key ``""``
            stands for the module itself: a function that gets the dictionary of all its (transformed)
            parameters (a :class:`ModuleValues`, which also has the ``module``), and returns those it changes.
    """

    def __init__(self, mod: nn.Module, T_config: Mapping[str, Any]) -> None:
        super().__init__(mod)
        self._transforms: dict[str, tuple[Transform, ...]] = {}
        self._joints: tuple[JointTransform, ...] = ()
        self.extend(T_config)

    @property
    def T_config(self) -> dict[str, tuple[Any, ...]]:  # noqa: N802
        """The transforms of each parameter, in the order in which they apply; under ``""`` the joint ones."""
        joint: dict[str, tuple[Any, ...]] = {"": self._joints} if self._joints else {}
        return {**self._transforms, **joint}

    def extend(self, T_config: Mapping[str, Any]) -> None:
        """Add transforms; they apply after those that are there."""
        known = own_tensors(self._mod)
        for name, entry in T_config.items():
            functions = as_functions(entry, f"{self._label}.{name}")
            if name == "":
                self._joints += tuple(functions)
            elif name not in known:
                raise ConfigurationError(f"{self._label}: {unknown_key_message('parameter', name, known)}")
            else:
                self._transforms[name] = self._transforms.get(name, ()) + self._bound(name, functions)

    def keep_joints(self, wanted: Callable[[Any], bool]) -> None:
        """Drop the joint transforms for which ``wanted`` is False."""
        self._joints = tuple(joint for joint in self._joints if wanted(joint))

    def _bound(self, name: str, functions: Sequence[Any]) -> tuple[Transform, ...]:
        """Give transforms with a memory to this parameter, and hold them as children."""
        result = []
        for function in functions:
            bound = function
            if isinstance(function, ParameterTransform):
                bound = function.bind(own_tensors(self._mod)[name], self._mod)
                taken = [key for key in self._modules if key.startswith(f"_T_{name}")]
                self.add_module(f"_T_{name}" + (f"_{len(taken)}" if taken else ""), bound)
            result.append(bound)
        return tuple(result)

    def single_values(self) -> dict[str, Tensor]:
        """Return all parameters, each after its own transforms, before any joint one."""
        values = own_tensors(self._mod)
        with deterministic_transforms(is_deterministic() or not self.training):
            for name, functions in self._transforms.items():
                original = values[name]
                for function in functions:
                    values[name] = function(values[name])
                _check_shape(f"{self._label}.{name}", original, values[name])
        return values

    def transformed_values(self) -> dict[str, Any]:
        """Return the values that a call uses now in place of the stored ones: name -> value."""
        values: dict[str, Any] = dict(self.single_values())
        changed = dict.fromkeys(self._transforms)
        with deterministic_transforms(is_deterministic() or not self.training):
            for joint in self._joints:
                result = joint(ModuleValues(values, self._mod))
                unknown = [name for name in result if name not in values and not hasattr(self._mod, name)]
                if unknown:
                    message = unknown_key_message("parameter", unknown[0], values)
                    raise ConfigurationError(f"{self._label}: a joint transform returned: {message}")
                values |= result
                changed |= dict.fromkeys(result)
        return {name: values[name] for name in changed}

    def evaluation_values(self) -> dict[str, Any]:
        """Return the transformed values of evaluation mode, detached."""
        with deterministic_transforms():
            values = self.transformed_values()
        return {
            name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module inside with its transformed parameters."""
        values = self.transformed_values()
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        settings = {name: value for name, value in values.items() if name not in tensors}
        with _settings(self._mod, settings):
            return self._run_inner(args, kwargs, tensors)

    def transformed_copy(self) -> nn.Module:
        """Return a detached copy of the module inside that holds its evaluation-mode values."""
        values = self.evaluation_values()
        result = copy.deepcopy(self._mod)
        tensors = own_tensors(result)
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[name].data = value.clone()
            else:
                setattr(result, name, value)
        for parameter in nn.Module.parameters(result):
            parameter.requires_grad_(False)
        return result

    def as_graph(self) -> DagModule:
        """Return the graph: the module inside, as a copy with its evaluation-mode values."""
        return _graph_around(self, self.transformed_copy())


class ActWrapper(_Wrapper):
    """A module whose output passes through a function: ``T(mod(x))``.

    Args:
        mod: the module.
        T: function of the output tensor, or a sequence of functions that apply in order.
    """

    def __init__(self, mod: nn.Module, T: Any) -> None:
        super().__init__(mod)
        self._functions = tuple(as_functions(T, self._label))

    def extend(self, T: Any) -> None:
        """Add functions; they apply after those that are there."""
        self._functions += tuple(as_functions(T, self._label))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the transformed output of the module inside."""
        output = self._run_inner(args, kwargs, {})
        with deterministic_transforms(is_deterministic() or not self.training):
            for function in self._functions:
                output = function(output)
        return output

    def as_graph(self) -> DagModule:
        """Return the graph: the module inside, then a vertex for the functions."""
        graph = DagModule(self._name or type(self._mod).__name__)
        inner = add_child_vertex(graph, _INNER, self._mod, graph.add_input_vertex("input"))
        graph.mark_as_output(graph.add_vertex("activation", Activation(self._functions), [inner]))
        return graph


class Activation(nn.Module):
    """The functions of an :class:`ActWrapper` as a module that a graph can hold."""

    def __init__(self, functions: Sequence[Transform]) -> None:
        super().__init__()
        self.functions = tuple(functions)

    def forward(self, value: Tensor) -> Tensor:
        """Apply the functions in order."""
        with deterministic_transforms():
            for function in self.functions:
                value = function(value)
        return value


def as_functions(entry: Any, where: str) -> list[Any]:
    """Return a configuration entry (None, a function, a sequence of functions) as a list."""
    if entry is None:
        return []
    functions = list(entry) if isinstance(entry, list | tuple) else [entry]
    for function in functions:
        if not callable(function):
            raise ConfigurationError(
                f"{where}: a transform must be a function, a sequence of functions or None, not {function!r}."
            )
    return functions


def _graph_around(wrapper: _Wrapper, module: nn.Module) -> DagModule:
    graph = DagModule(wrapper._name or type(module).__name__)
    source = graph.add_input_vertex("input")
    graph.mark_as_output(add_child_vertex(graph, _INNER, module, source))
    return graph


def _check_shape(where: str, before: Tensor, after: Any) -> None:
    if not isinstance(after, Tensor) or after.shape != before.shape:
        found = tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__
        raise ShapeError(f"{where} has shape {tuple(before.shape)}; its transform returned {found}.")


@contextmanager
def _settings(module: nn.Module, settings: Mapping[str, Any]) -> Iterator[None]:
    """Give a module other simulation parameters for the length of a call."""
    before = {name: getattr(module, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _report_bare_keys(module: nn.Module, incompatible: Any) -> None:
    for keys in (incompatible.missing_keys, incompatible.unexpected_keys):
        keys[:] = [key.replace(f".{_INNER}.", ".").removeprefix(f"{_INNER}.") for key in keys]
