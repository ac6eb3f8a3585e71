"""Configurations: trees that say which transform applies where.

A tree has the form of ``net.parameters()``: submodule name -> tree, parameter name -> transform (a function,
a sequence of functions that apply in order, or None). Trees for several families merge with ``tree_update``,
where the later entry replaces the earlier, or with :func:`compose_T_config`, where it applies after it.
"""

# ruff: noqa: N802  (Rockpool's names)

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from snnkit.parameters import canonical_family, family_matches
from snnkit.utilities.errors import ConfigurationError, unknown_key_message
from snnkit.utilities.tree_utils import tree_update

from .base import ParameterTransform
from .decays import bitshift_tau, round_dash, t_decay
from .wrappers import _INNER, ActWrapper, TWrapper, _Wrapper, as_functions, core_of, own_tensors

__all__ = [
    "compose_T_config",
    "config_errors",
    "make_act_T_config",
    "make_bitshift_T_config",
    "make_joint_T_config",
    "make_param_T_config",
]

FAMILIES = ("weights", "biases", "bias", "taus", "decays", "bitshifts", "thresholds")

Tree = dict[str, Any]
Family = str | Sequence[str] | None


def make_param_T_config(
    net: nn.Module, T_fn: Callable[[Tensor], Tensor] | Any, param_family: Family = None
) -> Tree:
    """Return the configuration that applies ``T_fn`` to every parameter of a family.

    Args:
        net: any ``torch.nn.Module``. Parameters of plain torch modules belong to ``"biases"`` or
            ``"weights"`` by their names.
        T_fn: ``tensor -> tensor`` of the same shape; also a sequence of such functions.
        param_family: a family, the name of a parameter (``"w_rec"``), or several of these; None for all.

    Raises:
        ConfigurationError: ``param_family`` is neither a family nor the name of a parameter in ``net``.
    """
    wanted = [param_family] if isinstance(param_family, str) else param_family
    if wanted is not None:
        known = {name for module in net.named_modules() for name in _known_names(module[1])} | {*FAMILIES}
        for name in wanted:
            if name not in known:
                raise ConfigurationError(unknown_key_message("parameter family", name, known))
    as_functions(T_fn, "T_fn")
    return _param_tree(net, T_fn, wanted)


def make_joint_T_config(
    net: nn.Module, T_fn: Callable[[dict[str, Any]], Mapping[str, Any]], ModuleClass: type | tuple[type, ...]
) -> Tree:
    """Return the configuration of a transform that sees all parameters of a module at once.

    ``T_fn`` gets ``{name: value}`` of each module of ``ModuleClass``, after the transforms of single
    parameters, and returns those entries that it changes. The dictionary has the module as its attribute
    ``module`` (for its ``dt``, say)::

        def scale_free(p):  # threshold 1 everywhere
            return {"threshold": torch.ones_like(p["threshold"]), "bias": p["bias"] / p["threshold"]}
    """
    as_functions(T_fn, "T_fn")
    return _module_tree(
        net, lambda module: T_fn if isinstance(module, ModuleClass) else None, keep_empty=False
    )


def make_bitshift_T_config(net: nn.Module) -> Tree:
    """Return the configuration under which every leak of ``net`` is a bit shift that a chip can compute.

    Decays get :func:`t_decay`, bit shifts :func:`round_dash`, and time constants :func:`bitshift_tau` for the
    ``dt`` of their module.
    """
    tree: Tree = {}
    for family, function in (("decays", t_decay), ("bitshifts", round_dash)):
        tree = tree_update(tree, _param_tree(net, function, (family,)))
    return tree_update(tree, _tau_tree(net))


def make_act_T_config(
    net: nn.Module,
    T_fn: Callable[[Tensor], Tensor] | Any = None,
    ModuleClass: type | tuple[type, ...] | None = None,
) -> Tree:
    """Return the configuration that applies ``T_fn`` to the output of every module of a class.

    Each module has the key ``""``: ``T_fn`` where it is of ``ModuleClass`` (None: every module without
    submodules), else None. Without ``T_fn`` it is a tree to fill in by hand.
    """

    def entry(module: nn.Module) -> Any:
        matches = not module._modules if ModuleClass is None else isinstance(module, ModuleClass)
        return T_fn if matches else None

    as_functions(T_fn, "T_fn")
    return _module_tree(net, entry, keep_empty=True)


def compose_T_config(first: Mapping[str, Any], second: Mapping[str, Any]) -> Tree:
    """Merge two configurations; where both have an entry, the second's applies after the first's."""
    result: Tree = {}
    for key in dict.fromkeys((*first, *second)):
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            result[key] = compose_T_config(one or {}, other or {})
        elif one is None or other is None:
            result[key] = other if one is None else one
        else:
            result[key] = [*as_functions(one, key), *as_functions(other, key)]
    return result


def config_errors(net: nn.Module, config: Mapping[str, Any], activity: bool, path: str = "") -> list[str]:
    """Return a message for every entry of ``config`` that has nothing to apply to.

    Args:
        net: the network, wrapped or not.
        config: its configuration, with or without the wrappers' level ``_mod``.
        activity: whether entries apply to outputs rather than to parameters.
        path: where ``net`` stands, for the messages.
    """
    core = core_of(net)
    own = {} if activity else own_tensors(core)
    known = [*core._modules, *own]
    errors: list[str] = []
    for key, entry in flat_entries(net, config):
        where = f"{path}.{key}" if path else str(key)
        if key in core._modules and core._modules[key] is not None:
            if isinstance(entry, Mapping):
                errors += config_errors(core._modules[key], entry, activity, where)  # type: ignore[arg-type]
            elif entry is not None:
                errors.append(f"{where} is a module, so its entry must be a dictionary, not {entry!r}.")
        elif key == "" or key in own:
            errors += _entry_errors(entry, where)
        else:
            place = f"{path or type(core).__name__}: "
            errors.append(place + unknown_key_message("submodule or parameter", str(key), known))
    return errors


def flat_entries(net: nn.Module, config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the entries of ``config`` for the module inside ``net``'s wrappers."""
    entries: list[tuple[str, Any]] = []
    for key, entry in config.items():
        if key == _INNER and isinstance(net, _Wrapper) and isinstance(entry, Mapping):
            entries += flat_entries(net._mod, entry)
        else:
            entries.append((key, entry))
    return entries


def _entry_errors(entry: Any, where: str) -> list[str]:
    if isinstance(entry, Mapping):
        return [f"{where} is a parameter, so its entry must be a function, not a dictionary."]
    try:
        as_functions(entry, where)
    except ConfigurationError as error:
        return [str(error)]
    return []


def _known_names(module: nn.Module) -> set[str]:
    families = {entry.family for entry in module.__dict__.get("_registry", {}).values() if entry.family}
    return {*module._parameters, *families}


def _tree_of(module: nn.Module, own: Callable[[nn.Module], Tree]) -> Tree:
    """Return ``own(module)`` with the trees of the submodules under their names; empty ones are left out."""
    tree = own(module)
    for name, child in module._modules.items():
        if child is None or isinstance(child, ParameterTransform):
            continue
        subtree = _tree_of(child, own)
        if subtree:
            tree[name] = subtree
    return tree


def _param_tree(module: nn.Module, T_fn: Any, wanted: Sequence[str] | None) -> Tree:
    def own(part: nn.Module) -> Tree:
        return {name: T_fn for name in part._parameters if _is_wanted(part, name, wanted)}

    return _tree_of(module, own)


def _tau_tree(module: nn.Module) -> Tree:
    def own(part: nn.Module) -> Tree:
        dt = getattr(part, "dt", None)
        if dt is None or isinstance(part, TWrapper | ActWrapper):
            return {}
        names = [name for name in part._parameters if _is_wanted(part, name, ("taus",))]
        return {name: bitshift_tau(float(dt)) for name in names}

    return _tree_of(module, own)


def _is_wanted(module: nn.Module, name: str, wanted: Sequence[str] | None) -> bool:
    if module._parameters[name] is None:
        return False
    registry = module.__dict__.get("_registry", {})
    family = registry[name].family if name in registry else _family_by_name(name)
    return wanted is None or name in wanted or family_matches(family, wanted)


def _family_by_name(name: str) -> str | None:
    """Guess the family of a parameter that a plain torch module declares, such as ``weight_ih_l0``."""
    if "bias" in name:
        return canonical_family("biases")
    return "weights" if "weight" in name else None


def _module_tree(module: nn.Module, entry: Callable[[nn.Module], Any], keep_empty: bool) -> Tree:
    def own(part: nn.Module) -> Tree:
        if isinstance(part, TWrapper | ActWrapper):
            return {}
        function = entry(part)
        return {"": function} if function is not None or keep_empty else {}

    return _tree_of(module, own)
