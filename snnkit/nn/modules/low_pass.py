"""The deprecated low-pass filter, kept for nets that use it."""

import warnings
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.functional import exp_synapse
from snnkit.nn.leaks import tau_to_decay
from snnkit.nn.modules.declarations import FloatVector, real
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import SimulationParameter, State
from snnkit.utilities.errors import ShapeError

__all__ = ["LowPass"]


class LowPass(TorchModule):
    """Leaky sum ``vmem = exp(-dt / tau_mem) * vmem + x``, in the axis order ``(time, batch, channels)``.

    Deprecated in Rockpool, and the only module with that order. :class:`ExpSynTorch` does the same (its leak
    comes after the input is added) for ``(batch, time, channels)``.

    Args:
        n_neurons: number of channels.
        dt: time step in s.
        tau_mem: time constant in s, a number or one per channel. Not trainable.
        retain_torch_api: behave towards the caller as a plain torch module.

    Raises:
        ShapeError: the input does not have ``n_neurons`` channels; ``tau_mem`` has another length.
    """

    alpha_mem: Any
    vmem: Any

    def __init__(
        self, n_neurons: int, dt: float, tau_mem: FloatVector, retain_torch_api: bool = False
    ) -> None:
        warnings.warn(
            "LowPass is deprecated; use ExpSynTorch, which takes (batch, time, channels).",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(None, retain_torch_api=retain_torch_api)
        (alpha,) = tau_to_decay(dt, real(tau_mem))
        self.alpha_mem = SimulationParameter(alpha, shape=[(n_neurons,), (), (1,)])
        self.vmem = State(init_func=torch.zeros, shape=(n_neurons,))

    def forward(self, data: Tensor) -> Tensor:
        """Filter ``(time, batch, channels)``; return the same shape."""
        channels = self.vmem.shape[-1]
        if data.ndim != 3 or data.shape[-1] != channels or not len(data):
            raise ShapeError(
                f"LowPass: input must be (time, batch, {channels}), time above 0, not {tuple(data.shape)}."
            )
        (vmem,) = self._states_for(data.shape[1], "vmem")
        # vmem[t] = (alpha vmem[t-1]) + x[t]: what is in brackets is the current of a synapse after its leak.
        first = vmem * self.alpha_mem
        currents, _ = exp_synapse(data.transpose(0, 1), first, self.alpha_mem)
        before = torch.cat([first[None], currents.transpose(0, 1)[:-1]])
        outputs = before + data
        self._keep_states(vmem=outputs[-1].clone())
        return outputs
