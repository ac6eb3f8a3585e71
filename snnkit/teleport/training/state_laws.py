"""How the states of torch's optimisers move with their parameters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from snnkit.teleport.training.moves import GRADIENT, GRADIENT_SIZE, SIZE, SQUARE, STEP, WEIGHT, Carrier, Law
from snnkit.utilities.errors import ConfigurationError

__all__ = ["carry_state", "register_state_laws"]

_ADAM = {"exp_avg": GRADIENT, "exp_avg_sq": SQUARE, "max_exp_avg_sq": SQUARE}
_LAWS: dict[type[Optimizer], dict[str, Law]] = {
    torch.optim.SGD: {"momentum_buffer": GRADIENT},
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: _ADAM,
    torch.optim.NAdam: _ADAM,
    torch.optim.RAdam: _ADAM,
    torch.optim.Adamax: {"exp_avg": GRADIENT, "exp_inf": GRADIENT_SIZE},
    torch.optim.Adagrad: {"sum": SQUARE},
    torch.optim.Adadelta: {"square_avg": SQUARE, "acc_delta": SIZE},
    torch.optim.RMSprop: {"square_avg": SQUARE, "grad_avg": GRADIENT, "momentum_buffer": STEP},
    torch.optim.Rprop: {"prev": GRADIENT, "step_size": SIZE},
    torch.optim.ASGD: {"ax": WEIGHT},
    torch.optim.Muon: {"momentum_buffer": GRADIENT},
}


def register_state_laws(optimiser: type[Optimizer], laws: Mapping[str, Law]) -> None:
    """Say how the tensors in the state of an optimiser of one's own move.

    Args:
        optimiser: The class; subclasses without laws of their own inherit them.
        laws: Name in ``optimiser.state[parameter]`` -> law. Tensors of one number (counts of steps) stay.
    """
    _LAWS[optimiser] = dict(laws)


def carry_state(optimiser: Optimizer, state: Mapping[str, Any], move: Carrier) -> dict[str, Any]:
    """Return the state of one parameter after its move.

    Raises:
        ConfigurationError: nobody said how an entry of the state moves.
    """
    laws = _laws_of(optimiser, state)
    return {key: move.carried(v, laws[key]) if key in laws else v for key, v in state.items()}


def _laws_of(optimiser: Optimizer, state: Mapping[str, Any]) -> dict[str, Law]:
    """Return the laws of the entries that move."""
    known = next((_LAWS[kind] for kind in type(optimiser).__mro__ if kind in _LAWS), {})
    held = {key: value for key, value in state.items() if isinstance(value, (Tensor, list))}
    # One number that nobody knows is a count of steps.
    counts = {key for key, value in held.items() if isinstance(value, Tensor) and value.numel() == 1}
    unknown = sorted(held.keys() - known.keys() - counts)
    if unknown:
        raise ConfigurationError(
            f"How {', '.join(unknown)} in the state of {type(optimiser).__name__} moves is not known. Say it "
            'with register_state_laws, or drop the state with mode="reset".'
        )
    return {key: known[key] for key in held.keys() & known.keys()}
