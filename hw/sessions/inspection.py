"""What boards are plugged in, with their firmware: for ``snnkit doctor --boards``."""

from dataclasses import dataclass
from typing import Any

from snnkit.utilities.backends import is_older

from .connect import driver_module
from .errors import SessionError
from .samna_driver import SamnaDriver
from .samna_names import NAMES

__all__ = ["BoardState", "inspect_boards"]


@dataclass(frozen=True)
class BoardState:
    """One board that is plugged in.

    Attributes:
        uri: what to say to :func:`snnkit.hw.connect`.
        chip: title of its chip.
        firmware: versions fxtree and unifirm; None if it could not be opened.
        problem: what is to be done before it can be used; empty if nothing.
    """

    uri: str
    chip: str
    firmware: tuple[str, str] | None
    problem: str


def inspect_boards(driver: Any = None) -> list[BoardState]:
    """Open every free board in turn, read its firmware, and close it.

    Args:
        driver: the vendor's module; imported if left out.

    Raises:
        DriverMissing: the driver is not installed.
    """
    wrapped = SamnaDriver(driver_module() if driver is None else driver)
    found = []
    for info in wrapped.boards():
        uri, firmware, problem = f"samna:{info.name}:{info.index}", None, "in use by another program"
        if info.free:
            firmware, problem = None, ""
            try:
                board = wrapped.open(info)
                try:
                    firmware = board.firmware()
                finally:
                    board.close()
            except SessionError as error:
                problem = str(error)
        if firmware is not None:
            needed = NAMES[info.chip.name].minimum_firmware
            if any(is_older(have, need) for have, need in zip(firmware, needed, strict=True)):
                problem = f"needs fxtree {needed[0]} and unifirm {needed[1]} or newer"
        found.append(BoardState(uri, info.chip.title, firmware, problem))
    return found
