"""A module as one versioned JSON file: parameters, states and simulation parameters, exactly.

The file holds a tree like the module's own: for each module its class, shape, declared attributes and
submodules, and a checksum over all of it. Functions are stored by name, never as code.
"""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from snnkit import __version__
from snnkit.nn.modules.attributes import Attribute, value_of
from snnkit.nn.modules.json_values import json_to_param, param_to_json
from snnkit.nn.modules.module import TorchModule
from snnkit.nn.modules.store import DeclaringModule
from snnkit.nn.modules.trees import children_of
from snnkit.parameters import FixedInit, shape_of
from snnkit.utilities.errors import ConfigurationError, FileFormatError, ShapeError, SnnkitError
from snnkit.utilities.files import read_json, write_text

__all__ = ["load_module", "module_content", "module_to_json", "restore_module", "save_module"]

_FORMAT = "snnkit.module"
_VERSION = 1
_KINDS = ("SimulationParameter", "Parameter", "State")

Node = dict[str, Any]


def save_module(module: TorchModule, filename: str | Path) -> None:
    """Write a module to ``filename``; see :meth:`TorchModule.save`."""
    # On one line: indented, every weight would have a line of its own.
    write_text(filename, json.dumps(module_to_json(module), allow_nan=False) + "\n")


def module_to_json(module: nn.Module) -> Node:
    """Return a module as a dictionary; see :meth:`TorchModule.to_json`."""
    content = module_content(module)
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "snnkit": __version__,
        "sha256": _checksum(content),
        "module": content,
    }


def module_content(module: nn.Module) -> Node:
    """Return the tree that a file holds of a module."""
    return _node(module, type(module).__name__)


def restore_module(module: nn.Module, content: Node) -> None:
    """Write a tree into a module of the same class and shape.

    Raises:
        FileFormatError: The tree does not fit.
    """
    problems = _differences(module, content, type(module).__name__)
    if problems:
        raise FileFormatError("\n  ".join(problems))
    _restore(module, content)


def load_module(module: TorchModule, filename: str | Path) -> None:
    """Restore a module from ``filename``; see :meth:`TorchModule.load`."""
    content = _read_content(filename)
    problems = _differences(module, content, type(module).__name__)
    if problems:
        lines = "\n  ".join(problems)
        raise FileFormatError(f"{filename} does not fit this module:\n  {lines}")
    try:
        # A rehearsal on a copy: if the module's own checks refuse a value, the module stays as it was.
        _restore(copy.deepcopy(module), content)
    except (SnnkitError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(f"{filename} holds a value that the module refuses: {error}") from error
    _restore(module, content)


def _checksum(content: Node) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_content(filename: str | Path) -> Node:
    document = read_json(filename)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise FileFormatError(f'{filename} is no file of a module (it lacks "format": {_FORMAT!r}).')
    if document.get("version") != _VERSION:
        raise FileFormatError(
            f"{filename} has version {document.get('version')!r} of its format; "
            f"this release reads version {_VERSION}."
        )
    content = document.get("module")
    if isinstance(content, dict) and _checksum(content) == document.get("sha256"):
        return content
    raise FileFormatError(f"{filename} is damaged: its content does not match its checksum.")


def _values_declared(module: nn.Module) -> dict[str, Attribute]:
    """Return the declared attributes, without those whose value is a submodule."""
    registry = {} if _follows_structure(module) else module.__dict__.get("_registry", {})
    return {name: entry for name, entry in registry.items() if name not in module._modules}


def _follows_structure(module: nn.Module) -> bool:
    """Whether a module's tensors are those of its ``state_dict()``, which it takes in any number."""
    return bool(getattr(module, "tensors_follow_structure", False))


def _plain_values(module: nn.Module) -> dict[str, tuple[str, Any]]:
    """Return what a module registered by torch's own means: name -> (kind, tensor)."""
    if _follows_structure(module):
        tensors = module.state_dict(keep_vars=True)
        return {n: ("Parameter" if isinstance(t, nn.Parameter) else "State", t) for n, t in tensors.items()}
    registry = module.__dict__.get("_registry", {})
    values: dict[str, tuple[str, Any]]
    values = {name: ("Parameter", value) for name, value in module.named_parameters(recurse=False)}
    values |= {name: ("State", value) for name, value in module.named_buffers(recurse=False)}
    return {name: entry for name, entry in values.items() if name not in registry}


def _node(module: nn.Module, path: str) -> Node:
    attributes: Node = {}
    for name, attribute in _values_declared(module).items():
        shapes = sorted(list(shape) for shape in attribute.permitted_shapes)
        declared = {"kind": attribute.kind, "family": attribute.family, "shapes": shapes}
        attributes[name] = {**declared, **_value_node(getattr(module, name), f"{path}.{name}")}
    for name, (kind, value) in _plain_values(module).items():
        attributes[name] = {"kind": kind, **_value_node(value, f"{path}.{name}")}
    return {
        "class": type(module).__name__,
        "shape": list(module.shape) if isinstance(module, TorchModule) else None,
        "attributes": attributes,
        "modules": {name: _node(child, f"{path}.{name}") for name, child in children_of(module)},
    }


def _value_node(value: Any, where: str) -> Node:
    try:
        node = {"value": param_to_json(value)}
    except ConfigurationError as error:
        raise ConfigurationError(f"save(): {where}: {error}") from error
    return {**node, "trainable": value.requires_grad} if isinstance(value, nn.Parameter) else node


def _differences(module: nn.Module, node: Node, path: str) -> list[str]:
    """Return one line for each way in which a file cannot belong to this module, children included."""
    shape = list(module.shape) if isinstance(module, TorchModule) else None
    if node["class"] != type(module).__name__ or node["shape"] != shape:
        return [
            f"{path}: the file has {node['class']} of shape {node['shape']}, "
            f"the module is {type(module).__name__} of shape {shape}"
        ]
    problems = _attribute_differences(module, node["attributes"], path)
    children = dict(children_of(module))
    for name in sorted(children.keys() ^ node["modules"].keys()):
        place = "the file" if name in children else "the module"
        problems.append(f"{path}.{name}: {place} has no such submodule")
    for name in children.keys() & node["modules"].keys():
        problems += _differences(children[name], node["modules"][name], f"{path}.{name}")
    return problems


def _attribute_differences(module: nn.Module, attributes: Node, path: str) -> list[str]:
    registry = _values_declared(module)
    plain = _plain_values(module)
    own = registry.keys() | plain.keys()
    optional: frozenset[str] = getattr(module, "_optional_attributes", frozenset())
    problems = []
    for name in sorted((own ^ attributes.keys()) - optional):
        place = "the file" if name in own else "the module"
        problems.append(f"{path}.{name}: {place} has no such attribute")
    for name in sorted(own & attributes.keys()):
        try:
            value = json_to_param(attributes[name]["value"])
            if name in registry and (registry[name].is_tensor or value is not None):
                registry[name].check(f"{path}.{name}", value)
            elif (
                name in plain
                and not _follows_structure(module)
                and shape_of(value) != shape_of(plain[name][1])
            ):
                raise ShapeError(f"{path}.{name} must be of shape {shape_of(plain[name][1])}.")
        except ShapeError as error:
            problems.append(str(error))
        except FileFormatError as error:
            problems.append(f"{path}.{name}: {error}")
    return problems


def _restore(module: nn.Module, node: Node) -> None:
    """Write a file's content, already found to fit, into a module and its children."""
    attributes = node["attributes"]
    if isinstance(module, TorchModule):
        # Simulation parameters first: a leak mode decides which parameters the module has.
        for kind in _KINDS:
            for name, entry in attributes.items():
                if entry["kind"] == kind and "family" in entry:
                    _restore_declared(module, name, entry)
        for name in _values_declared(module).keys() - attributes.keys():
            _withdraw(module, name)
        module._registry = {name: module._registry[name] for name in _in_order(module, attributes)}
    if _follows_structure(module):
        module.load_state_dict({name: json_to_param(entry["value"]) for name, entry in attributes.items()})
    for name, (_, value) in _plain_values(module).items():
        if not _follows_structure(module):
            value.data.copy_(json_to_param(attributes[name]["value"]))
        value.requires_grad_(attributes[name].get("trainable", value.requires_grad))
    for name, child in children_of(module):
        _restore(child, node["modules"][name])


def _in_order(module: TorchModule, attributes: Node) -> list[str]:
    """Return the names of the declared attributes in the order of the file, which parameters() follows."""
    return sorted(
        module._registry, key=lambda name: list(attributes).index(name) if name in attributes else -1
    )


def _restore_declared(module: TorchModule, name: str, entry: Node) -> None:
    value = json_to_param(entry["value"])
    known = module._registry.get(name)
    if known is None or known.kind != entry["kind"]:
        permitted = tuple(tuple(shape) for shape in entry["shapes"])
        init_func = FixedInit(value) if known is None else known.init_func
        is_tensor = hasattr(value, "requires_grad")
        shape = shape_of(value)
        new = Attribute(entry["kind"], entry["family"], init_func, shape, permitted, is_tensor)
        module._install(name, new, value_of(new, value))
    if entry["kind"] == "SimulationParameter":
        # A class may guard what decides its structure, such as a leak mode; here the structure follows.
        DeclaringModule.__setattr__(module, name, value)
    else:
        setattr(module, name, value)
    if "trainable" in entry:
        getattr(module, name).requires_grad_(entry["trainable"])


def _withdraw(module: TorchModule, name: str) -> None:
    """Take an optional attribute away; its name then reads as None unless the class answers for it."""
    delattr(module, name)
    if not hasattr(module, name):
        setattr(module, name, None)
