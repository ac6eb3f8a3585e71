"""Asynchronous delta modulation as a pure function."""

import math

import torch
from torch import Tensor

from snnkit.nn.surrogates import StepPWL
from snnkit.utilities.errors import ShapeError

__all__ = ["delta_modulate"]


def delta_modulate(
    data: Tensor, thr_up: Tensor, thr_down: Tensor, n_ref_steps: int = 0
) -> tuple[Tensor, Tensor]:
    """Turn signals into up and down events, see :class:`~snnkit.nn.modules.UpDownTorch`.

    Args:
        data: Signals ``(B, T, N)``; the first values are the first references.
        thr_up: Rise per up event, broadcasts to ``(B, N)``.
        thr_down: Fall per down event, likewise.
        n_ref_steps: Least distance of two events of a channel; 0 allows several events per step.

    Returns:
        Events ``(B, T, 2 N)``, up and down channels interleaved, and the references before each step
        ``(B, T, N)``.
    """
    if not data.shape[1]:
        raise ShapeError(f"The input has no time step (shape {tuple(data.shape)}); give at least one.")
    reference = data[:, 0]
    most = 1.0 if n_ref_steps else math.inf
    wait = torch.zeros_like(reference)
    events, references = [], []
    for signal in data.unbind(1):
        references.append(reference)
        change = signal - reference
        # Half the threshold as window: the surrogates of up and down, of opposite sign, never overlap.
        up = StepPWL.apply(change, thr_up, 0.5 * thr_up, most)
        down = StepPWL.apply(-change, thr_down, 0.5 * thr_down, most)
        if n_ref_steps:
            waiting = wait > 0
            up, down = up.masked_fill(waiting, 0.0), down.masked_fill(waiting, 0.0)
            fired = (up + down) > 0
            reference = torch.where(waiting | fired, signal, reference)
            wait = torch.where(fired, n_ref_steps - 1.0, wait - 1)
        else:
            reference = reference + up * thr_up - down * thr_down
        events.append(torch.stack([up, down], -1).flatten(-2))
    return torch.stack(events, 1), torch.stack(references, 1)
