"""Training with the chip in the loop: its answers forward, the chip's arithmetic backward."""

from typing import Any

import torch
from torch import Tensor

from snnkit.nn.modules import TorchModule
from snnkit.utilities.errors import ConfigurationError

from ..xylo.exact.module import ChipExact
from .answer import OUTPUT
from .session import Session

__all__ = ["InTheLoop"]


class InTheLoop(TorchModule):
    """A network that is trained on what a device answers.

    Forward, the parameters' program is put on the session, and every sample runs there from rest: output
    and recorded states are the device's own, whatever it does differently from the simulator. Backward,
    gradients are those of the chip's arithmetic at the states that the device reported, so the parameters
    learn to make up for the device's deviations. States that it does not report are simulated.

    Args:
        exact: the network, from :func:`snnkit.hw.xylo.chip_exact`; its parameters are trained.
        session: a simulator, board, imitation or recording for the same chip; it stays open.

    Raises:
        ConfigurationError: the session is for another chip, or the module's output is a state.

    Example:
        >>> import torch
        >>> from snnkit.hw import connect
        >>> from snnkit.hw.sessions import InTheLoop
        >>> from snnkit.hw.xylo import chip_exact
        >>> from snnkit.nn.modules import LIFTorch, LinearTorch
        >>> from snnkit.nn.combinators import Sequential
        >>> net = Sequential(LinearTorch((3, 8)), LIFTorch(8), LinearTorch((8, 2)), LIFTorch(2))
        >>> with connect("fake:imu") as session:
        ...     loop = InTheLoop(chip_exact(net, "imu"), session)
        ...     output, _, _ = loop(torch.randint(0, 4, (2, 10, 3)))
        ...     output.sum().backward()
        >>> tuple(output.shape), session.specification == loop.exact.specification
        ((2, 10, 2), True)
    """

    exact: ChipExact

    def __init__(self, exact: ChipExact, session: Session) -> None:
        if session.chip.name != exact.chip.name:
            raise ConfigurationError(
                f"The network is for {exact.chip.title}, but {session.uri} is {session.chip.title}."
            )
        if exact.output_mode != "Spike":
            raise ConfigurationError(
                f"In the loop the output is events, but the network's is {exact.output_mode}: make it with "
                'chip_exact(..., output_mode="Spike").'
            )
        super().__init__(exact.shape, spiking_input=True, spiking_output=True)
        self.exact = exact
        self._session = session

    @property
    def session(self) -> Session:
        """What runs the program."""
        return self._session

    def forward(self, data: Tensor) -> Tensor:
        """Run event counts ``(batch, time, Nin)`` on the device; return ``(batch, time, Nout)``."""
        data, _ = self._auto_batch(data)
        specification = self.exact.specification
        if self._session.specification != specification:
            self._session.configure(specification)
        wanted: Any = torch.is_grad_enabled() or self._record
        output, _, record = self._session.run(data.detach().cpu().numpy(), record=wanted)
        self.exact.reset_state()
        self.exact._record = self._record
        try:
            returned = self.exact.replay(data, {OUTPUT: output, **record})
            self._record_dict = dict(self.exact._record_dict) if self._record else {}
        finally:
            self.exact._record = False
        return returned
