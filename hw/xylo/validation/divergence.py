"""Where network and chip first differ; without torch, so that a report can be read where there is none."""

from dataclasses import dataclass

__all__ = ["Divergence"]


@dataclass(frozen=True)
class Divergence:
    """The first place where the number of events differs.

    Attributes:
        time: step in the network's time, from 0; on the chip the population's delay is added.
        layer: module path of the population.
        neuron: within the population.
        net_value: events in the trained network.
        chip_value: events on the chip.
        reason: what made the difference, in words.
        sample: place in the batch.
    """

    time: int
    layer: str
    neuron: int
    net_value: float
    chip_value: float
    reason: str
    sample: int

    def __str__(self) -> str:
        return (
            f"sample {self.sample}, step {self.time}, {self.layer} neuron {self.neuron}: "
            f"{self.net_value:g} events in the net, {self.chip_value:g} on the chip. {self.reason}"
        )
