"""The nested print of modules."""

from torch import nn

from snnkit.nn.modules.trees import children_of

__all__ = ["described"]


def described(module: nn.Module, name: str) -> str:
    """Return class, name and shape of a module, with its submodules indented; plain ones have no shape."""
    shape = module.__dict__.get("_shape", (None,))
    quoted = f"'{name}'" if name else ""
    line = f"{type(module).__name__} {quoted} with shape {shape}"
    blocks = [described(child, child_name) for child_name, child in children_of(module)]
    if not blocks:
        return line
    inner = "\n".join("    " + text for block in blocks for text in block.splitlines())
    return f"{line} {{\n{inner}\n}}"
