"""Waiting for a chip's answers, with patience that ends."""

import time
from collections.abc import Callable
from typing import Any

from .errors import ReadoutTimeout
from .samna_driver import SamnaBoard

__all__ = ["Waiter"]

_SLICE = 50
"""Milliseconds that one call of the driver may block: after it, an interrupt of the user is seen."""


class Waiter:
    """Collects events of a board until they are all there.

    Args:
        board: an open board.
        patience: seconds without any event after which the board is given up.
        clock: seconds, monotonic.
    """

    def __init__(
        self, board: SamnaBoard, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board, self._patience, self._clock = board, patience, clock

    def until(self, enough: Callable[[list[Any]], bool], waiting_for: str) -> list[Any]:
        """Return the events that came, once ``enough`` of them is true.

        Raises:
            DeviceLost: the board does not answer at all any more.
            ReadoutTimeout: it does, but not with these events.
        """
        events: list[Any] = []
        last = self._clock()
        while not enough(events):
            more = self._board.received(_SLICE)
            if more:
                events += more
                last = self._clock()
                continue
            if self._clock() - last > self._patience:
                self._board.firmware()  # a board that is gone fails here, and says so
                raise ReadoutTimeout(
                    f"The board sent nothing for {self._patience:g} s while it was waited for {waiting_for}; "
                    f"{len(events)} events came before. Give more time with read_timeout, or lower the clock "
                    "of the host's other traffic; the state is unknown until reset()."
                )
            time.sleep(0.001)
        return events
