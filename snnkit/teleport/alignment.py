"""The change of basis that takes the weights of one net closest to those of another.

Channel by channel, from the inputs on, the factor is the least squares solution for what makes the channel:
with what the channel reads already in place, ``c = <target, source> / <source, source>``. That is exact if
the nets differ by a teleport. Otherwise gradients go on from there, over all weights at once.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnkit.dag.scales import Scales, scales_of_tape
from snnkit.teleport.balancing import free_columns
from snnkit.teleport.change_of_basis import Basis, Entry

__all__ = ["aligning_basis", "distance"]

_EXACT = 1e-9
_Columns = dict[str, list[tuple[float, Tensor]]]


def aligning_basis(
    basis: Basis,
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    *,
    eta: float = 1.0,
    steps: int = 100,
) -> Tensor:
    """Return the change of basis that takes ``source`` to ``target``, or as close to it as it gets.

    Args:
        basis: Of the model.
        source, target: Its parameters by path.
        eta: Step length of the descent that follows if no teleport takes the one to the other.
        steps: Most steps of it; 0 keeps the solution channel by channel.
    """
    found = basis.symmetries
    tables = [
        _columns(scales_of_tape(found.tape, kind, found.batch_norm), basis, kind)
        for kind in ("positive", "sign")
    ]
    cob = basis.ones()
    for entry in basis.entries:
        moved = dict(source) | basis.element(cob).apply(dict(source))
        factor = _least_squares(entry, tables, moved, target)
        if not entry.sign:
            factor = factor.abs()
        if not entry.scale:
            factor = factor.sign()
        cob[entry.span] = factor
    if (
        steps
        and any(entry.scale for entry in basis.entries)
        and distance(basis, cob, source, target) > _EXACT
    ):
        cob = _descended(basis, cob, source, target, eta=eta, steps=steps)
    return cob


def distance(basis: Basis, cob: Tensor, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> float:
    """Return how far the teleported source is from the target, relative to the target's norm."""
    moved = dict(source) | basis.element(cob).apply(dict(source))
    pairs = [(moved[name].double(), target[name].double()) for name in _weights(basis, target)]
    numerator = sum(float((one - other).square().sum()) for one, other in pairs)
    denominator = sum(float(other.square().sum()) for _, other in pairs)
    return (numerator / max(denominator, 1e-300)) ** 0.5


def _weights(basis: Basis, tensors: Mapping[str, Tensor]) -> list[str]:
    known = basis.symmetries.tape.parameters
    return [name for name in tensors if name in known and known[name].kind == "parameter"]


def _columns(settled: Scales, basis: Basis, kind: str) -> _Columns:
    """Return for each parameter the positions in the vector that its elements take, -1 for none."""
    spans = [entry for entry in basis.entries if (entry.scale if kind == "positive" else entry.sign)]
    places = [place for entry in spans for place in range(entry.start, entry.start + entry.size)]
    column = dict(zip(settled.first_uses, places, strict=True))
    return {
        name: free_columns(scale, settled, column)
        for name, scale in settled.parameters.items()
        if settled.tape.parameters[name].kind == "parameter"
    }


def _least_squares(
    entry: Entry, tables: list[_Columns], moved: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> Tensor:
    """Return the factor of each channel of an entry, from what makes it and is in place otherwise."""
    product, square = torch.zeros(2, entry.size, dtype=torch.float64)
    own_tables = tables[0] if entry.scale else tables[1]
    for name, terms in own_tables.items():
        shape = moved[name].shape
        index = torch.full(shape, -1)
        usable = torch.ones(shape, dtype=torch.bool)
        for power, table in terms:
            mine = ((table >= entry.start) & (table < entry.start + entry.size)).expand(shape)
            usable &= ~mine | (torch.tensor(power == 1.0 or not entry.scale) & (index < 0))
            index = torch.where(mine, table.expand(shape) - entry.start, index)
        for others in tables:
            for _, table in others.get(name, []):
                usable &= (table < entry.start + entry.size).expand(shape)
        chosen = usable & (index >= 0)
        one, other = (t[name].detach().cpu().double()[chosen] for t in (moved, target))
        product.index_add_(0, index[chosen], one * other)
        square.index_add_(0, index[chosen], one * one)
    factor = product / square
    return torch.where((square > 0) & (product != 0), factor, 1.0)


def _descended(
    basis: Basis,
    cob: Tensor,
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    *,
    eta: float,
    steps: int,
) -> Tensor:
    """Go on by descent over the logarithms of the scales (L-BFGS); signs stay."""
    found = basis.symmetries
    start = basis.log_scales(cob)
    signed = dict(source) | basis.element(cob.sign()).apply(dict(source))
    names = _weights(basis, target)
    norm = sum(float(target[name].double().square().sum()) for name in names)
    logs = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([logs], lr=eta, max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        factors = found.log_factors(logs)
        total = torch.zeros((), dtype=torch.float64)
        for name in names:
            moved = signed[name].detach().cpu().double()
            if name in factors:
                moved = moved * factors[name].exp()
            total = total + (moved - target[name].detach().cpu().double()).square().sum()
        return total / max(norm, 1e-300)

    def closure() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    before = float(loss().detach())
    optimiser.step(closure)
    ended = logs.detach()
    if not bool(ended.isfinite().all()) or float(loss().detach()) > before:
        ended = start
    return _rescaled(basis, cob.sign(), ended)


def _rescaled(basis: Basis, signs: Tensor, logs: Tensor) -> Tensor:
    """Return the vector of these signs and logarithms of scales."""
    result = signs.clone()
    position = 0
    for entry in basis.entries:
        if entry.scale:
            result[entry.span] *= logs[position : position + entry.size].exp()
            position += entry.size
    return result
