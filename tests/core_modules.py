"""Small modules that the tests of the module contract share."""

import torch
from torch import Tensor, nn

from snnkit.nn.modules import TorchModule
from snnkit.parameters import Constant, Parameter, SimulationParameter, State


class Accumulator(TorchModule):
    """Adds up ``data @ weight + bias`` over time, from the stored total on."""

    def __init__(self, size_in: int, size_out: int, gain: float | Tensor = 1.0, **keywords: object) -> None:
        super().__init__((size_in, size_out), **keywords)
        self.weight = Parameter(shape=(size_in, size_out), family="weights", init_func=torch.rand)
        self.bias = Parameter(family="bias", shape=[(size_out,), ()], init_func=torch.zeros)
        self.gain = Parameter(gain, family="gains")
        self.total = State(shape=(size_out,), init_func=torch.zeros)
        self.dt = SimulationParameter(1e-3)
        self.mask = SimulationParameter(torch.ones(size_out))

    def forward(self, data: Tensor) -> Tensor:
        data, (total,) = self._auto_batch(data, (self.total,))
        totals = total[:, None] + torch.cumsum(data @ self.weight + self.bias, dim=1) * self.gain
        self._keep_states(total=totals[:, -1])
        if self._record:
            self._record_dict["totals"] = totals
        return totals * self.mask


def constant_gain(size_in: int = 3, size_out: int = 2) -> Accumulator:
    return Accumulator(size_in, size_out, gain=Constant(2.0))


class Nested(TorchModule):
    """A container of one of our modules, and of plain ones that hold another."""

    def __init__(self) -> None:
        super().__init__((3, 2))
        self.first = Accumulator(3, 4)
        self.plain = nn.Linear(4, 4)
        self.listed = nn.ModuleList([Accumulator(4, 2)])

    def forward(self, data: Tensor) -> Tensor:
        hidden, _, record = self.first(data, record=self._record)
        if self._record:
            self._record_dict["first"] = record
        return self.listed[0](self.plain(hidden))[0]
