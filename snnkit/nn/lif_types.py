"""What describes a population of spiking neurons to the functions of :mod:`snnkit.nn.functional`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from snnkit.nn.surrogates import SpikeFunction, StepPWL, is_own_surrogate, surrogate_width

__all__ = ["Adaptation", "LIFDynamics", "LIFState", "NeuronInputs", "SpikeGeneration"]


@dataclass(frozen=True, eq=False)
class SpikeGeneration:
    """How a membrane potential becomes events.

    Attributes:
        threshold: ``(N,)`` or ``()``, positive; subtracted once per event.
        function: Spike count with a surrogate gradient, see :mod:`snnkit.nn.surrogates`.
        window: Width of the surrogate, in units of the membrane potential.
        max_spikes: Most events that a neuron can emit in one step.
        relative: Whether the window is in units of the threshold instead.
    """

    threshold: Tensor
    function: SpikeFunction = StepPWL.apply
    window: float | Tensor = 0.5
    max_spikes: float | Tensor = 2.0**16
    relative: bool = False

    def __call__(self, vmem: Tensor) -> Tensor:
        """Return the events that the membrane potential ``vmem`` emits."""
        if not self.relative:
            return self.function(vmem, self.threshold, self.window, self.max_spikes)
        if is_own_surrogate(self.function):
            return self.function(vmem, self.threshold, self.window, self.max_spikes, True)  # type: ignore[call-arg]
        # Functions of users take a width in the units of the membrane.
        width = surrogate_width(self.threshold, self.window, relative=True)
        return self.function(vmem, self.threshold, width, self.max_spikes)


class Adaptation(NamedTuple):
    """After-hyperpolarisation: each event adds ``w_ahp`` to a current with decay ``gamma``; both ``(N,)``."""

    w_ahp: Tensor
    gamma: Tensor


@dataclass(frozen=True, eq=False)
class LIFDynamics:
    """What stays the same over time in a population of leaky integrate-and-fire neurons.

    Attributes:
        alpha: Membrane decay per step, ``(N,)`` or ``()``.
        beta: Synaptic decay per step, ``(N, S)``, ``(1, S)`` or ``()``.
        bias: Current added to the membrane in every step, ``(N,)`` or ``()``.
        spike: Threshold and surrogate.
        w_rec: Recurrent weights ``(N, N * S)`` from neurons to input channels, or None.
        adaptation: After-hyperpolarisation, or None.
    """

    alpha: Tensor
    beta: Tensor
    bias: Tensor
    spike: SpikeGeneration
    w_rec: Tensor | None = None
    adaptation: Adaptation | None = None


class LIFState(NamedTuple):
    """State of LIF neurons: ``(B, N)``, isyn ``(B, N, S)``; no iahp without adaptation."""

    vmem: Tensor
    isyn: Tensor
    spikes: Tensor
    iahp: Tensor | None = None


class NeuronInputs(NamedTuple):
    """The tensors of a call to compiled neurons, or the same for their gradients.

    data ``(B, T, N * S)``; the state before the first step, vmem ``(B, N)``, isyn ``(B, N, S)``, spikes
    ``(B, N)``, iahp ``(B, N)``; alpha ``(N,)`` or ``()``; beta, which broadcasts to ``(N, S)``; bias and
    threshold, ``(N,)`` or ``()``; w_rec ``(N, N * S)``; w_ahp and gamma, ``(N,)`` or ``()``; noise
    ``(B, T, N)``. Those of what the neurons don't have are None.
    """

    data: Any
    vmem: Any
    isyn: Any
    spikes: Any
    iahp: Any
    alpha: Any
    beta: Any
    bias: Any
    threshold: Any
    w_rec: Any
    w_ahp: Any
    gamma: Any
    noise: Any
