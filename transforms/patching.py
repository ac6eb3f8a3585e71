"""Putting transforms into a network, taking them out, and what one does with them in between."""

# ruff: noqa: N802  (Rockpool's names)

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from snnkit.nn.modules import TorchModule
from snnkit.parameters import FixedInit
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from .base import ParameterTransform
from .configuration import config_errors, flat_entries
from .wrappers import _INNER, ActWrapper, TWrapper, _Wrapper, as_functions, core_of, own_tensors

__all__ = [
    "advance_transforms",
    "apply_T",
    "bare_path",
    "freeze_masks",
    "load_transform_state",
    "make_act_T_network",
    "make_param_T_network",
    "remove_T_net",
    "replace_modules",
    "transform_state",
    "wrappers_of",
]

Config = Mapping[str, Any]
Wrapper = TypeVar("Wrapper", bound=nn.Module)


def make_param_T_network(net: nn.Module, T_config_tree: Config, inplace: bool = False) -> Any:
    """Return the network with a :class:`TWrapper` around each module that the configuration names.

    Transforms of a parameter that already has some apply after those. Containers with parameters of their own
    are wrapped like any module, the outermost one too.

    Args:
        net: any ``torch.nn.Module``, patched before or not.
        T_config_tree: see :func:`make_param_T_config`.
        inplace: patch ``net`` itself, with its very parameters; else a deep copy.

    Raises:
        ConfigurationError: an entry has nothing to apply to. All such entries are listed, and nothing is
            patched.
    """
    _refuse_bad_entries(config_errors(net, T_config_tree, activity=False))
    net = net if inplace else copy.deepcopy(net)
    wanted: dict[int, dict[str, list[Any]]] = {}
    _collect(net, T_config_tree, wanted, activity=False)
    wrappers = {id(wrapper._mod): wrapper for _, wrapper in wrappers_of(net, TWrapper)}

    def visit(module: nn.Module) -> nn.Module:
        entries = wanted.get(id(module))
        if not entries:
            return module
        if id(module) in wrappers:
            wrappers[id(module)].extend(entries)
            return module
        return TWrapper(module, entries)

    return replace_modules(net, visit)


def make_act_T_network(net: nn.Module, act_T_config: Config, inplace: bool = False) -> Any:
    """Return the network with an :class:`ActWrapper` around each module whose output is transformed.

    Args:
        net: any ``torch.nn.Module``, patched before or not.
        act_T_config: see :func:`make_act_T_config`.
        inplace: patch ``net`` itself, with its very parameters; else a deep copy.

    Raises:
        ConfigurationError: an entry has nothing to apply to. All such entries are listed.
    """
    _refuse_bad_entries(config_errors(net, act_T_config, activity=True))
    net = net if inplace else copy.deepcopy(net)
    wanted: dict[int, dict[str, list[Any]]] = {}
    _collect(net, act_T_config, wanted, activity=True)
    inside = {id(wrapper._mod) for _, wrapper in wrappers_of(net, _Wrapper)}

    def visit(module: nn.Module) -> nn.Module:
        functions = wanted.get(id(core_of(module)), {}).get("")
        if not functions or id(module) in inside:
            return module
        if isinstance(module, ActWrapper):
            module.extend(functions)
            return module
        return ActWrapper(module, functions)

    return replace_modules(net, visit)


def apply_T(T_net: nn.Module, inplace: bool = False) -> Any:
    """Write the transformed values into the parameters, and return the network, still patched.

    The values are those of evaluation mode (random transforms do not draw), and the ``Parameter`` objects
    stay the same, so an optimiser made before goes on working.

    Args:
        T_net: a patched network.
        inplace: change ``T_net`` itself; else a deep copy.
    """
    T_net = T_net if inplace else copy.deepcopy(T_net)
    # Transforms that span modules read the old values of all, so none is written before all are computed.
    results = [(wrapper, wrapper.evaluation_values()) for _, wrapper in wrappers_of(T_net, TWrapper)]
    for wrapper, values in results:
        tensors = own_tensors(wrapper._mod)
        for name, value in values.items():
            if isinstance(value, Tensor):
                _write(wrapper._mod, name, tensors[name], value)
            else:
                setattr(wrapper._mod, name, value)
    return T_net


def remove_T_net(T_net: nn.Module, inplace: bool = False) -> Any:
    """Return the network without any wrapper; its parameters are what they are stored as.

    Call :func:`apply_T` first to keep the transformed values.

    Args:
        T_net: a patched network.
        inplace: take the wrappers out of ``T_net`` itself; else out of a deep copy. Where ``T_net`` itself is
            a wrapper, the module inside is returned.
    """
    return replace_modules(T_net if inplace else copy.deepcopy(T_net), core_of)


def advance_transforms(T_net: nn.Module) -> None:
    """Move every transform one step along its schedule: call it once per epoch or optimiser step."""
    for _, _, _, transform in _stateful(T_net):
        transform.advance()


def freeze_masks(T_net: nn.Module) -> None:
    """Fix the masks of all pruning transforms as they are now."""
    for _, wrapper, name, transform in _stateful(T_net):
        value = own_tensors(wrapper._mod)[name].detach()
        for function in wrapper.T_config[name]:
            if function is transform:
                break
            value = function(value)
        transform.freeze(value.detach())


def transform_state(T_net: nn.Module) -> dict[str, Tensor]:
    """Return what the transforms keep (masks, learned steps), which is no part of ``state_dict()``.

    Keys are ``"{module path}.{parameter}.{position}.{name}"`` with the module paths of the bare network.
    """
    return {key: tensor.detach().clone() for key, tensor in _memory(T_net).items()}


def load_transform_state(T_net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Restore what :func:`transform_state` returned from a network patched in the same way.

    Raises:
        ConfigurationError: the two networks do not have the same transforms.
    """
    memory = _memory(T_net)
    unknown = [key for key in state if key not in memory]
    missing = [key for key in memory if key not in state]
    if unknown or missing:
        reason = (
            unknown_key_message("entry", unknown[0], memory) if unknown else f"{missing[0]!r} is missing."
        )
        raise ConfigurationError(f"The state belongs to other transforms than this network has: {reason}")
    for key, tensor in memory.items():
        tensor.data = state[key].detach().clone().to(tensor.device, tensor.dtype)


def bare_path(path: str) -> str:
    """Return a module path without the level that wrappers add."""
    return ".".join(part for part in path.split(".") if part != _INNER)


def wrappers_of(net: nn.Module, kind: type[Wrapper]) -> Iterator[tuple[str, Wrapper]]:
    """Yield all wrappers of a kind with the path that their module has in the bare network."""
    for path, module in net.named_modules():
        if isinstance(module, kind):
            yield bare_path(path), module


def _refuse_bad_entries(errors: list[str]) -> None:
    if errors:
        raise ConfigurationError("The configuration does not fit the network:\n" + "\n".join(errors))


def _collect(net: nn.Module, config: Config, wanted: dict[int, dict[str, list[Any]]], activity: bool) -> None:
    """Gather, by identity of the module, the functions for each of its parameters."""
    core = core_of(net)
    for key, entry in flat_entries(net, config):
        child = core._modules.get(key)
        if child is not None:
            _collect(child, entry or {}, wanted, activity)
        elif entry is not None:
            functions = as_functions(entry, key)
            wanted.setdefault(id(core), {}).setdefault(key, []).extend(functions)


def replace_modules(root: nn.Module, visit: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Put ``visit(module)`` in place of every module, the innermost first, each module once."""
    # The key module is kept beside the result: an id is only unique while its object lives.
    done: dict[int, tuple[nn.Module, nn.Module]] = {}

    def replaced(module: nn.Module) -> nn.Module:
        if id(module) not in done:
            name = module._name if isinstance(module, TorchModule) else ""
            for key, child in list(module._modules.items()):
                if child is not None and not isinstance(child, ParameterTransform):
                    _put(module, key, replaced(child))
            result = visit(module)
            if isinstance(result, TorchModule) and result is not module:
                result._name = name
            done[id(module)] = (module, result)
        return done[id(module)][1]

    return replaced(root)


def _put(parent: nn.Module, key: str, child: nn.Module) -> None:
    if parent._modules[key] is not child:
        parent._modules[key] = child
        if isinstance(child, TorchModule):
            child._name = key


def _write(module: nn.Module, name: str, tensor: Tensor, value: Tensor) -> None:
    """Write into the very tensor; a scalar that became one value per neuron is declared so."""
    registry = module.__dict__.get("_registry", {})
    if name in registry and value.shape != tensor.shape:
        entry = registry[name]
        init = entry.init_func
        if isinstance(init, FixedInit):
            init = FixedInit(torch.as_tensor(init.value).expand(value.shape).clone())
        registry[name] = replace(entry, shape=tuple(value.shape), init_func=init)
        tensor.grad = None
    tensor.data = value.detach().clone()


def _stateful(net: nn.Module) -> Iterator[tuple[str, TWrapper, str, ParameterTransform]]:
    for path, wrapper in wrappers_of(net, TWrapper):
        for name, functions in wrapper.T_config.items():
            for position, function in enumerate(functions):
                if isinstance(function, ParameterTransform):
                    prefix = f"{path}." if path else ""
                    yield f"{prefix}{name}.{position}", wrapper, name, function


def _memory(net: nn.Module) -> dict[str, Tensor]:
    memory: dict[str, Tensor] = {}
    for where, _, _, transform in _stateful(net):
        kept = {**dict(transform.named_parameters()), **dict(transform.named_buffers())}
        memory |= {f"{where}.{name}": tensor for name, tensor in kept.items()}
    return memory
