"""Trees of the attributes of a module and of all that it contains.

A tree has the module's declared attributes under their names, and the tree of each submodule under the
submodule's name. Plain ``torch.nn.Module`` children take part with their parameters and buffers.
"""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from snnkit.parameters import family_matches
from snnkit.utilities.tree_utils import branches, get_nested

if TYPE_CHECKING:
    from snnkit.nn.modules.attributes import Kind

__all__ = ["TorchModuleParameters", "attribute_tree", "children_of", "named_attribute_tree"]

Family = str | Sequence[str] | None


class TorchModuleParameters(dict[str, Any]):
    """The tree that ``module.parameters()`` returns."""

    def astorch(self) -> Generator[nn.Parameter, None, None]:
        """Yield each ``torch.nn.Parameter`` of the tree once, as an optimiser wants them."""
        seen: set[int] = set()
        for branch in branches(self):
            leaf = get_nested(self, branch)
            if isinstance(leaf, nn.Parameter) and id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf


def children_of(module: nn.Module) -> Generator[tuple[str, nn.Module], None, None]:
    """Yield name and module of every direct child, a child held under two names twice."""
    for name, child in module._modules.items():
        if child is not None:
            yield name, child


def attribute_tree(module: nn.Module, kind: "Kind", family: Family = None) -> TorchModuleParameters:
    """Return the tree of all attributes of one kind.

    With a family, only attributes of it are in the tree, and only submodules that have some.
    """
    tree = TorchModuleParameters(_own_attributes(module, kind, family))
    for name, child in children_of(module):
        subtree = attribute_tree(child, kind, family)
        if subtree or family is None:
            tree[name] = subtree
    return tree


def _own_attributes(module: nn.Module, kind: "Kind", family: Family) -> dict[str, Any]:
    registry = module.__dict__.get("_registry", {})
    own = {
        name: getattr(module, name)
        for name, attribute in registry.items()
        if attribute.kind == kind and family_matches(attribute.family, family)
    }
    if family is not None:
        return own
    # What is registered by torch's own means has no family.
    plain: dict[str, Any] = {}
    if kind == "Parameter":
        plain = dict(module.named_parameters(recurse=False))
    elif kind == "State":
        persistent = set(module._buffers) - module._non_persistent_buffers_set
        plain = {name: value for name, value in module.named_buffers(recurse=False) if name in persistent}
    return own | {name: value for name, value in plain.items() if name not in registry}


def named_attribute_tree(module: nn.Module, names: Sequence[str]) -> TorchModuleParameters:
    """Return the tree of all declared attributes, of any kind, that have one of ``names``."""
    registry = module.__dict__.get("_registry", {})
    declared = [*registry, *module._parameters, *module._buffers]
    tree = TorchModuleParameters({name: getattr(module, name) for name in names if name in declared})
    for child_name, child in children_of(module):
        subtree = named_attribute_tree(child, names)
        if subtree:
            tree[child_name] = subtree
    return tree
