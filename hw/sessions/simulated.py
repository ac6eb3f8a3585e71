"""The session that runs the bit-exact simulator."""

import numpy as np

from snnkit.utilities.chips import Chip

from ..xylo.simulator.program import Program, compile_program
from ..xylo.simulator.run import CoreState, run_program
from ..xylo.specification.core import Specification
from .answer import OUTPUT, Answer
from .session import Session

__all__ = ["SimulatedSession"]


class SimulatedSession(Session):
    """A chip in the simulator; a batch runs all at once."""

    _program: Program
    _state: CoreState

    def __init__(self, chip: Chip) -> None:
        super().__init__(f"sim:{chip.name}", chip)
        self._step = 0

    def _configure(self, spec: Specification) -> int:
        self._program = compile_program(spec)
        return self._reset()

    def _run(self, counts: np.ndarray, wanted: tuple[str, ...], *, from_rest: bool, power: bool) -> Answer:
        if from_rest:
            self._reset()
        run = run_program(self._program, counts, self._state, {OUTPUT, *wanted})
        batch, steps, _ = counts.shape
        firsts = tuple(self._step + steps * sample for sample in range(batch))
        self._step += batch * steps
        if batch == 1:
            self._state = run.state
        return Answer(run.recorded, run.state, firsts)

    def _reset(self) -> int:
        self._state = CoreState.zero(self._program)
        return 0
