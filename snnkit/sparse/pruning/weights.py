"""The weights of a model that can be pruned: what they are called, which axis are the targets, what is left.

A mask is a bool tensor of the dense shape, True to keep. Masks go by the names that ``named_parameters``
gives dense layers, so those of a model with sparse layers are those of its dense twin: ``fc1.weight``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkit.nn.modules import TorchModule
from snnkit.parameters import canonical_family
from snnkit.sparse import MaskedConv1d, MaskedConv2d, MaskedConv3d, change_structure
from snnkit.sparse.synapses import Synapses
from snnkit.sparse.weight import SparseWeight
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["PrunableWeight", "prunable_weights"]

_TORCH = (nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_STORED = (SparseWeight, MaskedConv1d, MaskedConv2d, MaskedConv3d)


@dataclass(frozen=True, eq=False)
class PrunableWeight:
    """One weight of a model.

    Args:
        name: The first name by which it goes.
        aliases: All names, more than one if it is shared.
        module: The first layer that holds it; of a spiking module with sparse weights, its synapses.
        attribute: Under which name; ``weight`` for sparse layers too.
        sources_first: Whether axis 0 are the sources, as in ``LinearTorch`` and ``w_rec``, not the targets.
        caller: The spiking module that holds ``module`` as its synapses; None for others.
    """

    name: str
    aliases: tuple[str, ...]
    module: nn.Module
    attribute: str
    sources_first: bool
    caller: nn.Module | None = None

    @property
    def layer(self) -> nn.Module:
        """The module whose call uses the weight: :attr:`module`, or the one that holds the synapses."""
        return self.caller or self.module

    @property
    def stored(self) -> bool:
        """Whether the layer itself remembers which weights are there."""
        return isinstance(self.module, _STORED)

    @property
    def parameter(self) -> nn.Parameter:
        """What is trained: the dense weight, or the one-dimensional values of a sparse layer."""
        values = self.module.values if isinstance(self.module, SparseWeight) else None
        found = self.module._parameters[self.attribute] if values is None else values
        assert isinstance(found, nn.Parameter)
        return found

    @property
    def shape(self) -> torch.Size:
        """The shape as a dense tensor."""
        sparse = isinstance(self.module, SparseWeight)
        return torch.Size(self.module.shape) if sparse else self.parameter.shape  # type: ignore[arg-type]

    @property
    def size(self) -> int:
        """Number of weights of the dense tensor."""
        return self.shape.numel()

    def spread(self, values: Tensor, absent: float = 0.0) -> Tensor:
        """Return a tensor of the parameter's shape as a dense one, ``absent`` where no weight is stored."""
        if isinstance(self.module, SparseWeight):
            dense = values.new_full((self.size,), absent)
            return dense.index_put((self.module.flat_indices(),), values).reshape(self.shape)
        return values.masked_fill(~self.present(), absent) if self.stored else values

    def gather(self, dense: Tensor) -> Tensor:
        """Return the elements of a dense tensor that belong to the parameter, in its shape."""
        if isinstance(self.module, SparseWeight):
            return dense.reshape(-1)[self.module.flat_indices()]
        return dense

    def dense(self) -> Tensor:
        """Return the weight as a dense tensor without gradient."""
        return self.spread(self.parameter.detach())

    def present(self) -> Tensor:
        """Return where there is a weight: everywhere, or what the sparse layer stores."""
        if isinstance(self.module, _STORED):
            return self.module.mask()
        return torch.ones_like(self.parameter, dtype=torch.bool)

    def mask(self) -> Tensor:
        """Return where there is a weight that is not 0; a sparse layer's stored zeros count as there."""
        return self.present() if self.stored else self.parameter.detach() != 0

    def matrix(self, dense: Tensor) -> Tensor:
        """Return a dense tensor as a matrix ``(targets, sources)``; kernels are further sources."""
        return (dense.transpose(0, 1) if self.sources_first else dense).flatten(1)

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """Return a matrix ``(targets, sources)`` in the dense shape."""
        if not self.sources_first:
            return matrix.reshape(self.shape)
        sources, targets, *kernel = self.shape
        return matrix.reshape(targets, sources, *kernel).transpose(0, 1).contiguous()

    def restrict(self, mask: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Keep the weights of the mask alone; what a sparse layer lacks of them is stored, as 0.

        The optimiser's state of what goes and of what comes is 0, that of the others stays. A dense weight
        is written in place.
        """
        mask = mask.to(self.parameter.device)
        if isinstance(self.module, _STORED):
            change_structure(self.module, mask, optimizer=optimizer)
            return
        with torch.no_grad():
            dropped = ~mask
            self.parameter.masked_fill_(dropped, 0)
            zero_state(self.parameter, dropped, optimizer)


def zero_state(parameter: nn.Parameter, where: Tensor, optimizer: torch.optim.Optimizer | None) -> None:
    """Set the optimiser's state of some elements, such as momenta, to 0, and their gradient."""
    tensors = [] if optimizer is None else list(optimizer.state.get(parameter, {}).values())
    for value in (*tensors, parameter.grad):
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value.masked_fill_(where, 0)


def prunable_weights(
    model: nn.Module, names: Sequence[str] | None = None, exclude: Sequence[str] = ()
) -> tuple[PrunableWeight, ...]:
    """Return the weights of a model that pruning is about, each once, in the order of the model.

    These are the weights of linear, bilinear, convolution and recurrent layers and of attention, of sparse
    layers, and all parameters of spiking modules that belong to the family ``weights`` and have two axes.
    Biases, norms, embeddings, time constants and thresholds are not.

    Args:
        names: Only these. A name of a weight, or of a module for all in it; parameters with two or more axes
            of any module can be named.
        exclude: Not these; names of weights or modules.

    Raises:
        ConfigurationError: a name that does not exist; a weight that is computed from others (parametrised,
            or pruned by ``torch.nn.utils.prune``), not initialised, or not of real numbers; nothing is left.
    """
    problems: list[str] = []
    candidates = list(_candidates(model, problems))
    known = {alias for weight in candidates for alias in weight.aliases}
    paths = {path for path, _ in nn.Module.named_modules(model, remove_duplicate=False)}
    if names is not None:
        candidates += _named(model, [name for name in names if name not in known])
        known = {alias for weight in candidates for alias in weight.aliases}
    for name in (*(names or ()), *exclude):
        if name not in known | paths:
            problems.append(unknown_key_message("weight or module", name, known | paths - {""}))
    chosen = [
        weight
        for weight in candidates
        if (names is None or _is_in(weight, names)) and not _is_in(weight, exclude)
    ]
    for weight in chosen:
        if not weight.parameter.is_floating_point():
            problems.append(f"{weight.name} is {weight.parameter.dtype}; weights of real numbers are needed.")
    if not chosen and not problems:
        problems.append(f"{type(model).__name__} has no weight to prune, or all of them are excluded.")
    if problems:
        raise ConfigurationError("\n".join(problems))
    return tuple(chosen)


def _is_in(weight: PrunableWeight, names: Sequence[str]) -> bool:
    inside = tuple(f"{name}." for name in names if name)
    return any(alias in names or alias.startswith(inside) for alias in weight.aliases) or "" in names


def _attributes(module: nn.Module) -> Iterator[tuple[str, bool]]:
    """Yield the names of a module's weights, and whether their axis 0 are the sources."""
    if isinstance(module, Synapses):
        yield module.stands_for, True
    elif isinstance(module, (*_TORCH, *_STORED)):
        yield "weight", False
    elif isinstance(module, _TRANSPOSED):
        yield "weight", True
    elif isinstance(module, nn.RNNBase):
        yield from ((name, False) for name in module._parameters if name.startswith("weight"))
    elif isinstance(module, nn.MultiheadAttention):
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if module._parameters.get(name) is not None:
                yield name, False
    elif isinstance(module, TorchModule):
        for name, attribute in module._registry.items():
            parameter = module._parameters.get(name)
            if (
                parameter is not None
                and parameter.ndim > 1
                and canonical_family(attribute.family or "") == "weights"
            ):
                yield name, True


def _candidates(model: nn.Module, problems: list[str]) -> Iterator[PrunableWeight]:
    aliases = _all_names(model)
    seen: set[int] = set()
    for path, module in nn.Module.named_modules(model):
        for attribute, sources_first in _attributes(module):
            name = _shown(path, module, attribute)
            held = "values" if isinstance(module, SparseWeight) else attribute
            parameter = module._parameters.get(held)
            if parameter is None:
                problems.append(
                    f"{name} is computed from other tensors (a parametrisation, or torch.nn.utils.prune). "
                    "Make it plain first: from_torch_prune(model), or "
                    "torch.nn.utils.parametrize.remove_parametrizations."
                )
            elif isinstance(parameter, nn.UninitializedParameter):
                problems.append(f"{name} has no shape yet: run the lazy layer once.")
            elif id(parameter) not in seen:
                seen.add(id(parameter))
                others = [name, *(other for other in aliases[id(parameter)] if other != name)]
                caller = model.get_submodule(path.rpartition(".")[0]) if _is_inside(path, module) else None
                yield PrunableWeight(name, tuple(others), module, attribute, sources_first, caller)


def _all_names(model: nn.Module) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for path, module in nn.Module.named_modules(model, remove_duplicate=False):
        for attribute, parameter in module._parameters.items():
            if parameter is not None:
                sparse = isinstance(module, SparseWeight) and attribute == "values"
                shown = getattr(module, "stands_for", "weight") if sparse else attribute
                found.setdefault(id(parameter), []).append(_shown(path, module, shown))
    return found


def _is_inside(path: str, module: nn.Module) -> bool:
    return bool(path) and isinstance(module, Synapses)


def _shown(path: str, module: nn.Module, attribute: str) -> str:
    """Return the name of a weight; that of synapses is the one it has in the dense twin of their holder."""
    owner = path.rpartition(".")[0] if _is_inside(path, module) else path
    return f"{owner}.{attribute}" if owner else attribute


def _named(model: nn.Module, names: Sequence[str]) -> list[PrunableWeight]:
    """Return parameters of modules that are not known, which the caller names."""
    aliases = _all_names(model)
    modules = dict(nn.Module.named_modules(model, remove_duplicate=False))
    found = []
    for name in names:
        path, _, attribute = name.rpartition(".")
        parameter = modules[path]._parameters.get(attribute) if path in modules else None
        if parameter is not None and parameter.ndim > 1:
            found.append(PrunableWeight(name, tuple(aliases[id(parameter)]), modules[path], attribute, False))
    return found
