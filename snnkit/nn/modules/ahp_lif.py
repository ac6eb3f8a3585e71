"""Adaptive leaky integrate-and-fire neurons."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from snnkit.nn import functional
from snnkit.nn.functional import Adaptation, LIFDynamics, LIFState
from snnkit.nn.leaks import tau_to_decay
from snnkit.nn.modules.declarations import Fill, FloatVector, real, value_or_none
from snnkit.nn.modules.lif_base import LIFBaseTorch
from snnkit.parameters import Parameter, State

__all__ = ["aLIFTorch"]


class aLIFTorch(LIFBaseTorch):  # noqa: N801 - Rockpool's public name
    """Leaky integrate-and-fire neurons with after-hyperpolarisation.

    :class:`LIFTorch` with one more current per neuron, driven by the neuron's own events:

        iahp = (iahp + spikes * w_ahp) * exp(-dt / tau_ahp)

    which adds to the membrane in every step; a negative ``w_ahp`` makes the neuron tire. Records also
    ``iahp`` ``(batch, time, N)``.

    Args:
        shape: ``N``, ``(N,)`` or ``(N * S, N)``.
        tau_ahp: time constant in s, ``(N,)`` or ``()``, family ``"taus"``; 20 ms.
        w_ahp: charge per event, ``(N,)`` or ``()``, family ``"weights"``.
        w_ahp_init_func: draws ``w_ahp``; by default -0.9 everywhere.
        *args: all that follow ``shape`` in :class:`LIFBaseTorch`.
        **kwargs: the same by name; another name is an error.
    """

    tau_ahp: Any
    w_ahp: Any
    iahp: Any

    def __init__(
        self,
        shape: int | tuple[int, ...],
        tau_ahp: FloatVector | None = None,
        w_ahp: FloatVector | None = None,
        w_ahp_init_func: Callable[[tuple[int, ...]], Tensor] = Fill(-0.9),  # noqa: B008 - immutable
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(shape, *args, **kwargs)
        vector: list[tuple[int, ...]] = [(self.n_neurons,), ()]
        self.w_ahp = Parameter(value_or_none(w_ahp), "weights", w_ahp_init_func, vector, cast_fn=real)
        self.tau_ahp = Parameter(value_or_none(tau_ahp), "taus", Fill(20e-3), vector, cast_fn=real)
        self.iahp = State(init_func=Fill(0.0), shape=(self.n_neurons,))

    @property
    def gamma(self) -> Tensor:
        """Factor by which ``iahp`` decays in one step, ``(N,)`` or ``()``."""
        return tau_to_decay(self.dt, self.tau_ahp)[0]

    def _dynamics(self) -> LIFDynamics:
        plain = super()._dynamics()
        own = Adaptation(self.w_ahp, self.gamma)
        return LIFDynamics(plain.alpha, plain.beta, plain.bias, plain.spike, plain.w_rec, own)

    def _initial_state(self, batch: int) -> LIFState:
        return LIFState(*self._states_for(batch, "vmem", "isyn", "spikes", "iahp"))

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over ``(batch, time, N * S)``; return the events ``(batch, time, N)``."""
        data, _ = self._auto_batch(data)
        before = self._initial_state(len(data))
        spikes, state, self._record_dict = functional.lif(
            data, before, self._dynamics(), self._noise(data), self._record
        )
        self._keep_states(**state._asdict())
        return self._sent(spikes, before)
