"""Leaky integrate-and-fire neurons with exponential synapses."""

from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.modules.lif_base import LIFBaseTorch

__all__ = ["LIFTorch"]


class LIFTorch(LIFBaseTorch):
    """Leaky integrate-and-fire neurons: exponential synapses, subtractive reset, several events per step.

    In each step, for input ``x`` reshaped to ``(N, S)``:

        isyn = (isyn + x + spikes @ w_rec) * beta
        vmem = vmem * alpha + sum_s isyn + noise + bias
        spikes = min(floor(vmem / threshold), max_spikes_per_dt) where vmem >= threshold, else 0
        vmem = vmem - spikes * threshold

    with ``alpha = exp(-dt / tau_mem)`` and ``beta = exp(-dt / tau_syn)``. Input ``(batch, time, N * S)``,
    output events ``(batch, time, N)``. Records ``vmem`` (after reset), ``spikes`` ``(batch, time, N)``,
    ``isyn``, ``irec`` ``(batch, time, N, S)``.

    The arguments are those of :class:`LIFBaseTorch`.

    Example:
        >>> import torch
        >>> neurons = LIFTorch((4, 2), tau_syn=torch.tensor([[0.01, 0.03]]), threshold=0.5)
        >>> output, state, record = neurons(torch.ones(1, 100, 4), record=True)
        >>> tuple(output.shape), tuple(record["isyn"].shape)
        ((1, 100, 2), (1, 100, 2, 2))
    """

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over ``(batch, time, N * S)``; return the events ``(batch, time, N)``."""
        data, _ = self._auto_batch(data)
        before = self._initial_state(len(data))
        spikes, state, self._record_dict = functional.lif(
            data, before, self._dynamics(), self._noise(data), self._record
        )
        self._keep_states(vmem=state.vmem, isyn=state.isyn, spikes=state.spikes)
        return self._sent(spikes, before)
