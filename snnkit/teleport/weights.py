"""The parameters of a network as vectors and lists, in one order."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnkit.dag.analysis.copying import named_tensors, plain_path
from snnkit.teleport.errors import TeleportError

__all__ = ["Weights"]


class Weights:
    """The parameters of a network, each once, in the order of its modules."""

    def __init__(self, network: nn.Module) -> None:
        self._network = (network,)  # in a tuple, so that no module takes it for its own

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters by plain path."""
        return {plain_path(name): parameter for name, parameter in self.as_named().items()}

    def as_named(self) -> dict[str, nn.Parameter]:
        """Return all parameters by the names that torch gives them."""
        return dict(self._network[0].named_parameters())

    def layers(self) -> list[nn.Module]:
        """Return the modules that hold parameters themselves."""
        return [m for m in self._network[0].modules() if any(True for _ in m.parameters(recurse=False))]

    def by_layer(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return the parameters of each of these modules, by its path and torch's names."""
        found: dict[str, dict[str, nn.Parameter]] = {}
        for name, parameter in self.as_named().items():
            found.setdefault(plain_path(name).rpartition(".")[0], {})[name] = parameter
        return found

    def names(self, *, bias: bool = True, ignore_bn: bool = False) -> list[str]:
        """Return the paths of some of them."""
        modules = self._network[0].named_modules()
        norms = {plain_path(path) for path, module in modules if isinstance(module, _BatchNorm)}
        return [
            name
            for name in self.parameters
            if (bias or name.rpartition(".")[2] != "bias")
            and not (ignore_bn and name.rpartition(".")[0] in norms)
        ]

    def unpacked(self, weights: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """Return a vector, or tensors, as one tensor for each parameter.

        Raises:
            TeleportError: there are too many or too few numbers.
        """
        held = self.parameters
        flat = weights if isinstance(weights, Tensor) else torch.cat([w.reshape(-1) for w in weights])
        needed = sum(parameter.numel() for parameter in held.values())
        if flat.dim() != 1 or len(flat) != needed:
            raise TeleportError(
                f"the weights have shape {tuple(flat.shape)}, but the network has {needed} parameters: "
                "give them all, as get_weights(bias=True, ignore_bn=False) returns them."
            )
        pieces = flat.detach().split([parameter.numel() for parameter in held.values()])
        return {name: piece.reshape(held[name].shape) for name, piece in zip(held, pieces, strict=True)}

    def set(self, weights: Tensor | Sequence[Tensor]) -> None:
        """Set all parameters in place."""
        held = self.parameters
        with torch.no_grad():
            for name, value in self.unpacked(weights).items():
                held[name].copy_(value)

    @contextmanager
    def replaced(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Give parameters and buffers other values for a while."""
        own = named_tensors(self._network[0])
        kept = {name: own[name].detach().clone() for name in tensors if name in own}
        try:
            _copy(own, tensors)
            yield
        finally:
            _copy(own, kept)

    def resample(self, bins: int, generator: torch.Generator | None) -> None:
        """Draw every parameter from the histogram of its values, in place."""
        if bins < 1:
            raise TeleportError(f"bins is {bins}; a histogram has at least one.")
        with torch.no_grad():
            for parameter in self.parameters.values():
                values = parameter.detach().double().cpu().reshape(-1)
                low, high = values.min(), values.max()
                if len(values) and low < high:
                    counts = torch.histc(values, bins, float(low), float(high))
                    chosen = counts.multinomial(len(values), replacement=True, generator=generator)
                    within = torch.rand(len(values), dtype=torch.float64, generator=generator)
                    drawn = low + (chosen + within) * (high - low) / bins
                    parameter.copy_(drawn.reshape(parameter.shape))

    def reset(self) -> None:
        """Initialise all modules that know how."""
        for module in self._network[0].modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def _copy(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            if name in own:
                own[name].copy_(value)
