"""What a model's weights multiply: sums of squares of their inputs, and the thresholds of their targets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.nn.modules import LIFBaseTorch, LIFNeuronTorch, LinearTorch, TorchModule
from snnkit.sparse import SparseLayer
from snnkit.sparse.pruning.weights import PrunableWeight
from snnkit.sparse.synapses import Synapses
from snnkit.sparse.weight import SparseWeight
from snnkit.utilities.errors import ConfigurationError, DataError

__all__ = ["Batches", "InputSquares", "batches_of", "input_squares", "inverse_thresholds", "run"]

Batches = Tensor | tuple[Any, ...] | Iterable[Any]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    nn.ConvTranspose3d: F.conv_transpose3d,
}


@dataclass(frozen=True, eq=False)
class InputSquares:
    """What a weight multiplied.

    Args:
        squares: Sum of the squares over all that it was applied to; broadcasts to the dense weight.
        count: How often it was applied: samples, steps and positions.
    """

    squares: Tensor
    count: int

    @property
    def norm(self) -> Tensor:
        """The 2-norm."""
        return self.squares.sqrt()

    @property
    def rms(self) -> Tensor:
        """The root of the mean square."""
        return (self.squares / max(self.count, 1)).sqrt()


def batches_of(data: Batches, model: nn.Module) -> Iterator[tuple[Any, ...]]:
    """Yield the positional arguments of each batch: of one tensor, one tuple, or an iterable of these.

    Raises:
        DataError: there is no batch, or its numbers are of another type than the weights.
    """
    dtypes = {p.dtype for p in nn.Module.parameters(model) if p.is_floating_point()}
    empty = True
    for batch in [data] if isinstance(data, Tensor | tuple) else data:
        empty = False
        given = batch if isinstance(batch, tuple) else (batch,)
        for value in given:
            if isinstance(value, Tensor) and value.is_floating_point() and len(dtypes) == 1:
                (wanted,) = dtypes
                if value.dtype != wanted:
                    raise DataError(f"The data are {value.dtype}, the weights {wanted}: convert one of them.")
        yield given
    if empty:
        raise DataError("The data have no batch.")


def run(model: nn.Module, arguments: Sequence[Any]) -> Any:
    """Call a model from its initial state; of a spiking one return the output alone."""
    for module in nn.Module.modules(model):
        if isinstance(module, TorchModule):
            module.reset_state()
    result = model(*arguments)
    return result[0] if isinstance(model, TorchModule) and isinstance(result, tuple) else result


@contextmanager
def _hooks(handles: Iterable[Any]) -> Iterator[None]:
    held = list(handles)
    try:
        yield
    finally:
        for handle in held:
            handle.remove()


def input_squares(
    model: nn.Module, weights: Sequence[PrunableWeight], data: Batches
) -> dict[str, InputSquares]:
    """Run a model over data, in evaluation mode, and return what each weight multiplied, by name.

    For recurrent weights of spiking neurons these are their own events; for convolutions the sum goes over
    all positions of the kernel, padding included as it is computed.

    Raises:
        ConfigurationError: a layer of another kind, or one that does not run.
        DataError: see :func:`batches_of`.
    """
    unknown = [weight.name for weight in weights if _rule(weight) is None]
    if unknown:
        raise ConfigurationError(
            f"What {', '.join(unknown)} multiply is not known: their layers are no linear layers, "
            "convolutions or spiking neurons. Exclude them, or choose a criterion without inputs, such as "
            "'magnitude'."
        )
    sums: dict[str, tuple[Tensor, int]] = {}

    def watch(weight: PrunableWeight, holder: nn.Module) -> Any:
        rule = _rule(weight)
        assert rule is not None

        def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            squares, count = rule(module, given[0].detach(), _first(output).detach())
            before = sums.get(weight.name)
            sums[weight.name] = (
                (squares, count) if before is None else (before[0] + squares, before[1] + count)
            )

        return holder.register_forward_hook(hook)

    nn.Module.train(model, False)
    handles = [watch(weight, holder) for weight in weights for holder in _holders(model, weight)]
    with torch.no_grad(), _hooks(handles):
        for arguments in batches_of(data, model):
            run(model, arguments)
    silent = [weight.name for weight in weights if weight.name not in sums]
    if silent:
        raise ConfigurationError(
            f"The layers of {', '.join(silent)} were not called while the model ran: exclude them."
        )
    return {name: InputSquares(*found) for name, found in sums.items()}


def _holders(model: nn.Module, weight: PrunableWeight) -> list[nn.Module]:
    """Return the layers that share a weight; what any of them multiplies counts."""
    if isinstance(weight.module, Synapses):
        return [m for m in nn.Module.modules(model) if m._modules.get("synapses") is weight.module]
    held = "values" if isinstance(weight.module, SparseWeight) else weight.attribute
    return [
        module
        for module in nn.Module.modules(model)
        if module._parameters.get(held) is weight.parameter and isinstance(module, type(weight.module))
    ]


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


_Rule = Callable[[Any, Tensor, Tensor], tuple[Tensor, int]]


def _rule(weight: PrunableWeight) -> _Rule | None:
    module = weight.layer
    if weight.attribute == "w_rec":
        return _of_events
    if isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)):
        return _of_convolution
    if weight.attribute == "weight" and isinstance(module, nn.Linear | SparseLayer):
        return _of_inputs
    return _of_sources if weight.attribute == "weight" and isinstance(module, LinearTorch) else None


def _of_inputs(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    rows = x.reshape(-1, x.shape[-1])
    return rows.square().sum(0)[None], len(rows)


def _of_sources(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    # A raster of one dimension is one channel over time.
    squares, count = _of_inputs(module, x[:, None] if x.ndim == 1 else x, y)
    return squares.T, count


def _of_events(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    return _of_sources(module, y, y)


def _of_convolution(module: Any, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """The result is linear in the weight: its sum over x^2 has the sums of squares as gradient."""
    with torch.enable_grad():
        weight = torch.zeros_like(module.weight, requires_grad=True)
        if isinstance(module, _CONVOLUTIONS):
            total = module._conv_forward(x.square(), weight, None).sum()
        else:
            convolve = next(f for kind, f in _TRANSPOSED.items() if isinstance(module, kind))
            padding = module._output_padding(
                x, list(y.shape[2:]), module.stride, module.padding, module.kernel_size, x.ndim - 2,
                module.dilation,
            )  # fmt: skip
            total = convolve(
                x.square(),
                weight,
                None,
                module.stride,
                module.padding,
                padding,
                module.groups,
                module.dilation,
            ).sum()
        (squares,) = torch.autograd.grad(total, weight)
    return squares, y.numel() // module.out_channels


def inverse_thresholds(
    model: nn.Module, weights: Sequence[PrunableWeight], arguments: Sequence[Any]
) -> dict[str, Tensor]:
    """Return, by weight, 1 / threshold of the neurons that each target feeds, ``(targets,)``.

    Found by differentiation: ``sum x / theta`` over the input ``x`` of all neurons has ``1 / theta`` as its
    derivative with respect to what a layer passes on to them, through sums, dropouts and reshapes. Targets
    that feed no neurons, such as those of a readout, have 1.
    """
    results: dict[str, Tensor] = {}
    total: list[Tensor] = []

    def layer(weight: PrunableWeight) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> Any:
            cut = _first(output).detach().requires_grad_()
            results[weight.name] = cut
            return (cut, *output[1:]) if isinstance(output, tuple) else cut

        return weight.layer.register_forward_hook(hook)

    def before(module: Any, given: tuple[Any, ...]) -> None:
        x = given[0]
        neurons = len(module.threshold) if module.threshold.ndim else module.size_out
        theta = module.threshold.detach().expand(neurons)
        if x.requires_grad and x.shape[-1] % neurons == 0:
            total.append((x / theta.repeat_interleave(x.shape[-1] // neurons)).sum())

    def after(module: nn.Module, given: Any, output: Any) -> Tensor:
        return _first(output).detach()

    neurons = [m for m in nn.Module.modules(model) if isinstance(m, LIFBaseTorch | LIFNeuronTorch)]
    handles = [layer(w) for w in weights if w.layer not in neurons]
    handles += [m.register_forward_pre_hook(before) for m in neurons]
    handles += [m.register_forward_hook(after) for m in neurons]
    nn.Module.train(model, False)
    with torch.enable_grad(), _hooks(handles):
        run(model, arguments)
    leaves = list(results.values())
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if total:
        found = torch.autograd.grad(torch.stack(total).sum(), leaves, allow_unused=True)
    slopes = dict(zip(results, found, strict=True))
    return {weight.name: _inverse(weight, slopes.get(weight.name)) for weight in weights}


def _inverse(weight: PrunableWeight, slope: Tensor | None) -> Tensor:
    module = weight.layer
    targets = weight.matrix(torch.empty(weight.shape)).shape[0]
    if isinstance(module, LIFBaseTorch):
        theta = module.threshold.detach().expand(module.n_neurons)
        return 1 / theta.repeat_interleave(targets // module.n_neurons)
    if slope is None:
        return torch.ones(targets, dtype=weight.parameter.dtype, device=weight.parameter.device)
    channel = 1 if isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)) else -1
    means = slope.movedim(channel, 0).flatten(1).mean(1)
    return torch.where(means > 0, means, torch.ones_like(means))
