"""Gains of norms taken into the weights that read them, so that what the norms make can be rotated.

Under ``y = g * x / rms(x)`` a rotation of ``x`` is none of ``y``. With the gain in the next weight,
``W y = (W diag(g)) (x / rms(x))``, it is (Ashkboos et al. 2024, SliceGPT and QuaRot). Gains of a layer that
scales what a branch adds go into the weights before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.recording import record
from snnkit.teleport.matrices.constraints import Block, Side
from snnkit.teleport.matrices.tracing import Trace, trace

__all__ = ["Folding", "fold_gains"]


@dataclass(frozen=True)
class Folding:
    """What :func:`fold_gains` changed.

    Args:
        folded: Gains that are one now, each with the parameters that took it.
        left: Gains that stayed as they are, each with the reason.
    """

    folded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> tuple[str, ...]:
        """Paths of all parameters that were changed."""
        takers = (name for names in self.folded.values() for name in names)
        return tuple(dict.fromkeys((*self.folded, *takers)))

    def __str__(self) -> str:
        lines = [f"{gain} -> 1, into {', '.join(takers)}" for gain, takers in self.folded.items()]
        lines += [f"{gain} stays: {reason}" for gain, reason in self.left.items()]
        return "\n".join(lines) or "There are no gains to fold."


def fold_gains(
    model: nn.Module, example_inputs: Any, example_kwargs: Mapping[str, Any] | None = None
) -> Folding:
    """Set gains of norms, and of layers that scale a branch, to one; what reads or makes them takes them up.

    In place on the parameters, which stay parameters of the same shapes; outputs change by rounding only. A
    gain stays as it is where something reads it that is no weight.

    Args:
        model: Any module.
        example_inputs: A tensor, or the positional arguments.
        example_kwargs: Keyword arguments.
    """
    tape = record(model, example_inputs, example_kwargs)
    done = Folding()
    reasons: dict[str, str] = {}
    for gains_read in (False, True):
        found = trace(model, tape, gains_read=gains_read)
        blocks = found.constraints.blocks()
        for name, side in found.gains.items():
            if name not in done.folded:
                own = [block for block in blocks if any(place[0] is side for place in block.places)]
                reason = _fold(name, side, found, own, done)
                if reason and not gains_read:
                    reasons[name] = reason
    left = {name: reason for name, reason in reasons.items() if name not in done.folded}
    return Folding(done.folded, left)


def _fold(name: str, gain: Side, found: Trace, own: list[Block], done: Folding) -> str:
    """Fold one gain, which is in the blocks ``own``; return why it cannot be, or nothing."""
    covered = sum(block.size for block in own)
    if covered < gain.size:
        return found.constraints.why_fixed(gain) or "what reads it is no weight"
    if any(block.kind != "linear" for block in own):
        return "a norm runs over what it makes"
    taking = {side.view.name for block in own for side, _, _ in block.places}
    tensors = {n: t.detach().double().contiguous().clone() for n, t in found.tensors.items() if n in taking}
    values = tensors[name].reshape(-1).clone()
    for block in own:
        reason = _put(block, gain, values, tensors)
        if reason:
            return reason
    if not bool((tensors[name] == 1).all()):
        return "another gain shares its weights"
    with torch.no_grad():
        for changed, tensor in tensors.items():
            found.tensors[changed].copy_(tensor)
    done.folded[name] = tuple(other for other in tensors if other != name)
    return ""


def _put(block: Block, gain: Side, values: Tensor, tensors: dict[str, Tensor]) -> str:
    """Let the scales that make the gain one act on all places of a block."""
    nodes, powers = next((n, p) for side, n, p in block.places if side is gain)
    own = values[torch.from_numpy(nodes[0]) - gain.first]
    for side, nodes, its_powers in block.places:
        if side.diagonal and side is not gain:
            return "another gain shares its weights"
        elements = side.view.of(tensors[side.view.name])
        for line, power in zip(nodes, its_powers, strict=True):
            index = torch.from_numpy(line) - side.first
            shape = [1] * elements.dim()
            shape[side.axis] = -1
            before = elements.index_select(side.axis, index)
            if power * powers[0] < 0:
                after = before * own.reshape(shape)
            else:
                divisor = own.reshape(shape).expand_as(before)
                if bool(((divisor == 0) & (before != 0) & torch.tensor(side is not gain)).any()):
                    return f"some of it is zero, and {side.view.name} is not"
                after = torch.where(divisor == 0, 0.0, before / divisor)
            elements.index_copy_(side.axis, index, torch.ones_like(after) if side is gain else after)
    return ""
