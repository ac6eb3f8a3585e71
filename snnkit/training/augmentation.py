"""Random changes of training inputs, on levels before they are rounded to events."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Time warp, gain and offset of channels, and noise; all drawn from one generator.

    Attributes:
        time_warp: Speed and place change by up to this fraction.
        gain_noise: Standard deviation of a channel's gain around 1, and of its offset relative to ``cap``.
        level_noise: Standard deviation of the noise on every level, in events.
        cap: Most events of a channel in one step.
    """

    time_warp: float
    gain_noise: float
    level_noise: float
    cap: int

    def __call__(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """Return events ``(batch, time, channels)`` as floats from ``levels`` of the same shape."""
        if self.time_warp:
            levels = warp_time(levels, self.time_warp, generator)
        if self.gain_noise:
            shape = (levels.shape[0], 1, levels.shape[2])
            gain = 1.0 + self.gain_noise * torch.randn(shape, generator=generator)
            levels = levels * gain + self.gain_noise * self.cap * torch.randn(shape, generator=generator)
        if self.level_noise:
            levels = levels + self.level_noise * torch.randn(levels.shape, generator=generator)
        return self.events(levels)

    def events(self, levels: Tensor) -> Tensor:
        """Round levels to events without changing them: what the chip receives."""
        return levels.round().clamp(0.0, self.cap)


def warp_time(levels: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Play each recording faster or slower, and earlier or later, by up to ``amount``; ends are held.

    Step ``t`` reads ``c + a (t - c) + s T`` with ``c`` the middle, ``a`` in ``1 +- amount`` and ``s`` in
    ``+- amount / 2``, interpolated linearly.
    """
    batch, steps, channels = levels.shape
    speed = 1.0 + amount * (2.0 * torch.rand(batch, 1, generator=generator) - 1.0)
    shift = amount * steps * (torch.rand(batch, 1, generator=generator) - 0.5)
    centre = (steps - 1) / 2.0
    position = (centre + speed * (torch.arange(steps) - centre) + shift).clamp(0.0, steps - 1.0)
    lower = position.floor().long().clamp(max=steps - 2)
    fraction = (position - lower).unsqueeze(-1)
    index = lower.unsqueeze(-1).expand(-1, -1, channels)
    return levels.gather(1, index) * (1.0 - fraction) + levels.gather(1, index + 1) * fraction
