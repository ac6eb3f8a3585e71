"""Leaky integrate-and-fire neurons whose decays an integer chip can compute exactly."""

from typing import Any

from torch import Tensor

from snnkit.nn.leaks import bitshift_to_tau, calc_bitshift_decay, snap_decay
from snnkit.nn.modules.leak_modes import LeakMode, convert_leak
from snnkit.nn.modules.lif import LIFTorch
from snnkit.utilities.errors import ParameterError

__all__ = ["LIFBitshiftTorch"]


class LIFBitshiftTorch(LIFTorch):
    """:class:`LIFTorch` whose decays are those of whole bit shifts.

    With ``leak_mode="taus"``, the decay used is ``1 - 2^-dash``, ``dash = max(0, round(log2(tau / dt)))``,
    computed anew in every call; the time constants given are first replaced by those of such decays. The
    gradient is that of ``exp(-dt / tau)``, so that time constants can be trained and move from one bit
    shift to the next. With ``leak_mode="bitshifts"`` the shifts are rounded instead. The derived leaks
    (``alpha``, ``dash_mem``, ...) read as the values used.

    Args:
        *args: those of :class:`LIFBaseTorch`.
        max_spikes_per_dt: most events of a neuron in one step.
        **kwargs: those of :class:`LIFBaseTorch` by name; another name is an error.

    Raises:
        ParameterError: ``leak_mode`` is ``"decays"``.
    """

    def __init__(self, *args: Any, max_spikes_per_dt: float = 31, **kwargs: Any) -> None:
        super().__init__(*args, max_spikes_per_dt=max_spikes_per_dt, **kwargs)  # type: ignore[misc]

    def _declare_leaks(self, mode: LeakMode, membrane: Any, synapse: Any) -> None:
        if mode.family == "decays":
            raise ParameterError(
                f"{type(self).__name__}: leak_mode 'decays' has no bit shifts to round. Use 'taus' or "
                "'bitshifts', or transform the decays of a LIFTorch with t_decay."
            )
        super()._declare_leaks(mode, membrane, synapse)

    def _prepare_leak(self, value: Any) -> Tensor:
        leak = super()._prepare_leak(value)
        if self.leak_mode == "taus":
            return bitshift_to_tau(self.dt, calc_bitshift_decay(leak.detach(), self.dt))[0].to(leak.dtype)
        return leak.detach().round()

    def _used_decay(self, name: str) -> Tensor:
        leak = getattr(self, name)
        if self.leak_mode == "taus":
            return snap_decay(leak, self.dt)
        rounded = leak + (leak.round() - leak).detach()
        return convert_leak(rounded, "bitshifts", "decays", self.dt)

    def _derived_leak(self, mode: LeakMode, name: str) -> Tensor:
        return convert_leak(self._used_decay(self._own_name(mode, name)), "decays", mode.family, self.dt)
