"""What becomes of an optimiser when the model that it trains is teleported."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from snnkit.teleport.element import Element
from snnkit.teleport.teleportation import teleport
from snnkit.teleport.training.element_moves import moves_of
from snnkit.teleport.training.frames import check_precision, existing_frame, optimiser_frame
from snnkit.teleport.training.moves import GRADIENT, Carrier, Move
from snnkit.teleport.training.state_laws import carry_state
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Transport", "forget_states", "teleport_in_training", "transport"]

Transport = Literal["transparent", "kick", "reset"]
"""``transparent``: training goes on as if the model had not been teleported. ``kick``: learning rates stay
what they are for the moved parameters, and the state moves along. ``reset``: a kick after which the
optimiser is as if newly built, with the groups and learning rates that it has."""

Optimisers = Optimizer | Iterable[Optimizer]


def teleport_in_training(
    model: nn.Module, element: Element, optimisers: Optimisers, mode: Transport = "transparent"
) -> None:
    """Teleport a model in place and let its optimisers follow, between two steps: both or neither.

    See :func:`transport` for the arguments.

    Raises:
        TeleportError: the element is not one of this model.
        ConfigurationError: as :func:`transport`.
    """
    follow = _prepared(optimisers, model, element, mode)
    teleport(model, element)
    for step in follow:
        step()


def forget_states(optimisers: Iterable[Optimizer]) -> None:
    """Make optimisers as if newly built, with the groups, learning rates and schedules that they have."""
    for optimiser in optimisers:
        optimiser.state.clear()
        frame = existing_frame(optimiser)
        if frame is not None:
            frame.release()


def transport(
    optimisers: Optimisers,
    model: nn.Module,
    element: Element,
    mode: Transport = "transparent",
) -> None:
    """Let optimisers follow a teleportation of the parameters that they train.

    Call it after the parameters have been moved in place, between two steps. Gradients that the parameters
    hold at this time move as well; a reset drops them.

    ``transparent`` is exact for every optimiser and every coupled or decoupled weight decay: teleporting and
    training commute to rounding. Only what is done to gradients in between, in today's coordinates, does not
    follow (a clipped gradient norm).

    Args:
        optimisers: Any optimisers of torch, also with schedulers, several groups, or steps with closures.
        model: The one that was teleported.
        element: With which it was.
        mode: See :data:`Transport`.

    Raises:
        ConfigurationError: the mode is unknown; an optimiser is that of another model; a kick finds state of
            which nobody said how it moves, or which matrices cannot turn; matrices need parameters to keep a
            form, and these are trained.
    """
    for step in _prepared(optimisers, model, element, mode):
        step()


def _prepared(
    optimisers: Optimisers, model: nn.Module, element: Element, mode: Transport
) -> list[Callable[[], Any]]:
    """Return what is to be done, none of which can fail."""
    if mode not in get_args(Transport):
        raise ConfigurationError(unknown_key_message("mode of transport", mode, get_args(Transport)))
    several = [optimisers] if isinstance(optimisers, Optimizer) else list(optimisers)
    of_model = set(nn.Module.parameters(model))
    for optimiser in several:
        if of_model.isdisjoint(p for group in optimiser.param_groups for p in group["params"]):
            raise ConfigurationError(
                f"{type(optimiser).__name__} trains no parameter of this {type(model).__name__}: give the "
                "optimiser that was built from its parameters, not from those of a copy."
            )
    if mode == "reset":
        return [lambda: forget_states(several), lambda: _drop_gradients(model)]
    moves = moves_of(model, element)
    steps: list[Callable[[], Any]] = []
    for optimiser in several:
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        own = {p: moves[p] for p in trained if p in moves}
        steps.append(_PREPARE[mode](optimiser, own))
    return [*steps, lambda: _carry_gradients(moves)]


def _transparently(optimiser: Optimizer, moves: Mapping[Tensor, Carrier]) -> Callable[[], Any]:
    check_precision(moves)
    return lambda: optimiser_frame(optimiser).follow(moves)


@torch.no_grad()
def _kicked(optimiser: Optimizer, moves: Mapping[Tensor, Carrier]) -> Callable[[], Any]:
    frame, carried = existing_frame(optimiser), {}
    for parameter, move in moves.items():
        if not optimiser.state.get(parameter):
            continue
        # The state is in the optimiser's coordinates, and so must be the move that it makes.
        start = frame.move_of(parameter) if frame else Move()
        inside = start.then(move).then(start.inverse())
        carried[parameter] = carry_state(optimiser, optimiser.state[parameter], inside)
    return lambda: optimiser.state.update(carried)


_PREPARE = {"transparent": _transparently, "kick": _kicked}


def _carry_gradients(moves: Mapping[Tensor, Carrier]) -> None:
    for parameter, move in moves.items():
        if parameter.grad is not None:
            parameter.grad = move.carried(parameter.grad, GRADIENT)


def _drop_gradients(model: nn.Module) -> None:
    for parameter in nn.Module.parameters(model):
        parameter.grad = None
