"""An optimiser that goes on as if its model had never been teleported.

Torch's optimisers have no learning rate per entry, which is what a teleported parameter would need: ``c^2
lr`` for SGD, ``c lr`` and ``eps / c`` for Adam. So it is not the optimiser that changes. Around each of its
steps the parameters and their gradients are brought back to the coordinates in which it began, and forth
again after. That is exact for every optimiser there is, with its weight decay, its schedules and its
clipping."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from snnkit.teleport.training.element_moves import carrier_from_plain
from snnkit.teleport.training.moves import GRADIENT, Carrier, Move
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["OptimiserFrame", "check_precision", "existing_frame", "optimiser_frame"]

_KEY = "teleport_frame"
_FRAMES: "weakref.WeakKeyDictionary[Optimizer, OptimiserFrame]" = weakref.WeakKeyDictionary()


def optimiser_frame(optimiser: Optimizer) -> "OptimiserFrame":
    """Return the frame of an optimiser; a new one changes nothing until it follows a teleportation."""
    if optimiser not in _FRAMES:
        _FRAMES[optimiser] = OptimiserFrame(optimiser)
    return _FRAMES[optimiser]


def existing_frame(optimiser: Optimizer) -> "OptimiserFrame | None":
    """Return the frame of an optimiser if it has one."""
    return _FRAMES.get(optimiser)


def check_precision(moves: Mapping[Tensor, Carrier]) -> None:
    """Raise ConfigurationError if bits would be worn away by going back and forth in every step.

    That is so for parameters of half precision that are not moved by powers of two.
    """
    for parameter, move in moves.items():
        if parameter.dtype in (torch.float16, torch.bfloat16) and not move.is_power_of_two:
            raise ConfigurationError(
                f"A parameter of {parameter.dtype} is moved by factors that are no powers of two, where an "
                "optimiser cannot follow transparently. Teleport by powers of two, keep the parameters in "
                'float32, or use the mode "kick".'
            )


class OptimiserFrame:
    """The coordinates in which an optimiser works, seen from the parameters of today.

    Made by :func:`optimiser_frame`. ``optimiser.state`` is in the optimiser's own coordinates. So is the
    state in ``optimiser.state_dict()``, which therefore lies apart, under ``teleport_frame``, with the moves:
    loaded into an optimiser with a frame it goes on to the same bits. A program that knows nothing of frames
    finds no state and starts a new one (a reset). A pickle or deep copy of the optimiser knows no frame.
    """

    def __init__(self, optimiser: Optimizer) -> None:
        # The hooks hold the frame; were the optimiser held as well, neither would ever be freed early.
        self._optimiser = weakref.ref(optimiser)
        self._moves: dict[Tensor, Carrier] = {}
        self._fitted: dict[tuple[Tensor, torch.dtype, torch.device], Carrier] = {}
        self._away: dict[Tensor, Tensor | None] = {}
        self._handles = [
            optimiser.register_step_pre_hook(self._before_step),
            optimiser.register_step_post_hook(self._after_step),
            optimiser.register_state_dict_post_hook(self._to_file),
            optimiser.register_load_state_dict_pre_hook(self._from_file),
        ]

    def move_of(self, parameter: Tensor) -> Carrier:
        """Return the move from the optimiser's coordinates of a parameter to today's."""
        return self._moves.get(parameter, Move())

    def follow(self, moves: Mapping[Tensor, Carrier]) -> None:
        """Take note that parameters were moved; the optimiser keeps its coordinates.

        Raises:
            ConfigurationError: see :func:`check_precision`.
        """
        check_precision(moves)
        self._forth()
        self._fitted.clear()
        for parameter, move in moves.items():
            total = self.move_of(parameter).then(move)
            self._moves[parameter] = total
            if total.is_identity:
                del self._moves[parameter]

    def copy_to(self, twin: Optimizer) -> None:
        """Give a deep copy of the optimiser, made together with its model, this frame as well."""
        twins = dict(zip(_parameters(self._of()), _parameters(twin), strict=True))
        optimiser_frame(twin).follow({twins[parameter]: move for parameter, move in self._moves.items()})

    def release(self) -> dict[Tensor, Carrier]:
        """Take the frame off and return its moves: from now on the optimiser works on today's parameters."""
        for handle in self._handles:
            handle.remove()
        moves, self._moves = self._moves, {}
        _FRAMES.pop(self._of(), None)
        return moves

    # --- Around a step -----------------------------------------------------------------------------

    def _before_step(self, optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._forth()  # An error in the last step may have left parameters behind.
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        self._back(everything=closure is not None)
        if closure is None:
            return None
        inside = self._evaluating(closure)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": inside}
        return (args[0], inside, *args[2:]), kwargs

    def _after_step(self, optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._forth()

    def _evaluating(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return a closure that sees the model as it is, between an optimiser's steps in its coordinates."""

        def evaluate() -> Any:
            self._forth()
            result = closure()
            self._back(everything=True)
            return result

        return evaluate

    @torch.no_grad()
    def _back(self, everything: bool) -> None:
        if any(p.grad is not None and p.grad.is_sparse for p in self._moves):
            raise ConfigurationError(
                "A teleported parameter has a sparse gradient; make its embedding with sparse=False."
            )
        for parameter in self._moves:
            gradient = parameter.grad
            if gradient is None and not everything:
                continue
            move = self._move_now(parameter)
            self._away[parameter] = gradient
            parameter.copy_(move.brought_back(parameter))
            if gradient is not None:
                parameter.grad = move.brought_back(gradient, GRADIENT)

    @torch.no_grad()
    def _forth(self) -> None:
        for parameter, gradient in self._away.items():
            parameter.copy_(self._move_now(parameter).carried(parameter))
            parameter.grad = gradient
        self._away.clear()

    def _move_now(self, parameter: Tensor) -> Carrier:
        """Return the parameter's move, fitted once to what the parameter is and where."""
        key = parameter, parameter.dtype, parameter.device
        if key not in self._fitted:
            self._fitted[key] = self._moves[parameter].fitted(parameter)
        return self._fitted[key]

    # --- Files -------------------------------------------------------------------------------------

    def _to_file(self, optimiser: Optimizer, content: dict[str, Any]) -> dict[str, Any]:
        if not self._moves:
            return content
        places = enumerate(_parameters(optimiser))
        moves = {place: self._moves[p].to_plain() for place, p in places if p in self._moves}
        return {**content, "state": {}, _KEY: {"moves": moves, "state": content["state"]}}

    def _from_file(self, optimiser: Optimizer, content: dict[str, Any]) -> dict[str, Any]:
        frame = content.get(_KEY, {"moves": {}, "state": content["state"]})
        parameters, moves = _parameters(optimiser), {}
        for place, plain in frame["moves"].items():
            if not 0 <= place < len(parameters):
                raise FileFormatError(f"The loaded frame moves parameter {place} of {len(parameters)}.")
            moves[parameters[place]] = carrier_from_plain(plain)
            moves[parameters[place]].check(parameters[place].shape, f"parameter {place} of the optimiser")
        self._moves = moves
        self._fitted.clear()
        return {**{key: value for key, value in content.items() if key != _KEY}, "state": frame["state"]}

    def _of(self) -> Optimizer:
        optimiser = self._optimiser()
        if optimiser is None:
            raise ConfigurationError("The optimiser of this frame is gone.")
        return optimiser


def _parameters(optimiser: Optimizer) -> list[Tensor]:
    """List the parameters in the order in which a state_dict counts them."""
    return list(dict.fromkeys(p for group in optimiser.param_groups for p in group["params"]))
