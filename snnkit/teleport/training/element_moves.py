"""The moves of a model's parameters under an element."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from snnkit.teleport.changes import Change
from snnkit.teleport.channels import ChannelPart
from snnkit.teleport.element import Element
from snnkit.teleport.matrices import MatrixPart
from snnkit.teleport.training.matrix_moves import MatrixMove, matrix_moves
from snnkit.teleport.training.moves import Carrier, Chain, Move, permuted
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["carrier_from_plain", "moves_of"]


def moves_of(model: nn.Module, element: Element) -> dict[Tensor, Carrier]:
    """Return the moves of a model's parameters, for those that an element moves.

    Raises:
        ConfigurationError: a part of the element holds only as long as a parameter has a certain form, and
            that parameter is trained; or the part is of a kind that says nothing of gradients.
    """
    # Our own modules answer `parameters()` with a tree; torch's method is meant here.
    named = dict(nn.Module.named_parameters(model, remove_duplicate=False))
    moves: dict[Tensor, Carrier] = {}
    for part in element.parts:
        for name, move in _moves_of_part(part, named).items():
            if name in named:
                before = moves.get(named[name])
                moves[named[name]] = move if before is None else before.then(move)
    return moves


def _moves_of_part(part: Any, named: Mapping[str, nn.Parameter]) -> Mapping[str, Carrier]:
    if isinstance(part, ChannelPart):
        return {n: _of_change(c, named[n].ndim) for n, c in part.changes.items() if n in named}
    if isinstance(part, MatrixPart):
        _refuse_trained_conditions(part, named)
        return matrix_moves(part)
    raise ConfigurationError(
        f"Nothing is known of gradients under parts of the kind {part.kind!r}: no optimiser can follow. "
        'Use mode="reset".'
    )


def _refuse_trained_conditions(part: MatrixPart, named: Mapping[str, nn.Parameter]) -> None:
    """Gains that rotations need to be equal have gradients that no rotation turns into each other."""
    trained = {
        condition.name: None
        for site in part.sites
        for condition in site.conditions
        if condition.name in named and named[condition.name].requires_grad
    }
    if trained:
        names = ", ".join(list(trained)[:4])
        raise ConfigurationError(
            f"The matrices of this element need {names} to keep their form, and these are trained: no "
            'optimiser can follow. Freeze them (requires_grad_(False)), or use mode="reset".'
        )


def _of_change(change: Change, dimensions: int) -> Move:
    """Return a change, which multiplies first and permutes then, in the order of moves."""
    missing = dimensions - change.factor.ndim if change.factor.ndim else 0
    factor = change.factor.reshape((1,) * missing + tuple(change.factor.shape))
    orders = {axis % dimensions: order for axis, order in change.order.items()}
    return Move(permuted(factor, orders), orders)


def carrier_from_plain(plain: Mapping[str, Any]) -> Carrier:
    """Return what ``to_plain`` of a carrier wrote.

    Raises:
        FileFormatError: it is something else.
    """
    if "chain" in plain:
        return Chain(tuple(carrier_from_plain(link) for link in plain["chain"]))
    if "factor" in plain and "permutations" in plain:
        return Move(plain["factor"], plain["permutations"])
    if "matrices" in plain and "parameter" in plain:
        # The part knows its places; it asks nothing of the model's symmetries.
        part = MatrixPart.from_tensors(None, plain["matrices"])  # type: ignore[arg-type]
        return MatrixMove(str(plain["parameter"]), part)
    raise FileFormatError(f"This is no move of a parameter: {', '.join(map(str, plain))}.")
