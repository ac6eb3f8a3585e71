"""Rules for whole modules, which libraries give for their own classes.

Most modules need none: the operations of their forward pass are followed one by one. A module whose forward
is a loop over time, or runs in compiled code, says here what its axes mean. A class whose modules hold sizes
beside their tensors says how a smaller one is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from snnkit.dag.registry import find_rule

if TYPE_CHECKING:
    from snnkit.dag.analysis.axes import Axis
    from snnkit.dag.analysis.flow import Flow
    from snnkit.dag.analysis.propagation import Propagation
    from snnkit.dag.analysis.tape import Operation

__all__ = ["ModuleRule", "Resize", "module_rule_of", "register_module_rule", "register_resize", "resize_of"]

Resize = Callable[[nn.Module, Mapping[str, Tensor], Any], nn.Module]


@dataclass(frozen=True)
class ModuleRule:
    """What the analysis must know of a class of modules.

    Args:
        axes: ``axes(operation, propagation)`` returns the axes of each output tensor, and says through the
            propagation which axes are one, frozen or summed. The operation has the arguments ``inputs``
            (positional and keyword arguments as the module got them) and ``held`` (its parameters and buffers
            by name).
        flow: Where the outputs are zero when weights are; see :mod:`snnkit.dag.analysis.flow`.
        applies: Whether the rule holds for a module of the class; always by default.
    """

    axes: "Callable[[Operation, Propagation], list[tuple[Axis, ...]]]"
    flow: "Flow"
    applies: Callable[[nn.Module], bool] = lambda _: True


_rules: dict[type[nn.Module] | str, ModuleRule] = {}
_resizes: dict[type[nn.Module] | str, Resize] = {}


def register_module_rule(cls: type[nn.Module] | str, rule: ModuleRule) -> None:
    """Let the analysis treat modules of ``cls`` and its subclasses as one operation each.

    A class of a library that may not be installed is given by its full name.
    """
    _rules[cls] = rule


def module_rule_of(module: nn.Module) -> ModuleRule | None:
    """Return the rule of the nearest class in the module's inheritance order, if it applies."""
    rule = find_rule(module, _rules)
    return rule if rule is not None and rule.applies(module) else None


def register_resize(cls: type[nn.Module] | str, resize: Resize) -> None:
    """Say how a smaller module of ``cls``, or a subclass, is built.

    ``resize(module, tensors, sizes)`` returns a new module that holds ``tensors``, the remaining slices of
    its parameters and buffers by name, and has the sizes that follow from them; ``sizes`` are the
    :class:`~snnkit.dag.pruning.sizes.NewSizes` around it. The module given is not changed.
    """
    _resizes[cls] = resize


def resize_of(module: nn.Module) -> Resize | None:
    """Return how a smaller module is built; None if nobody said so for its class."""
    return find_rule(module, _resizes)
