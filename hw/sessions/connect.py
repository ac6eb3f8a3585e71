"""``connect``: from a short text to a session."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnkit.utilities.backends import find_samna
from snnkit.utilities.chips import CHIPS, Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from .errors import DeviceBusy, DeviceNotFound, DriverMissing
from .samna_driver import BoardInfo, SamnaDriver
from .samna_session import MODES, Mode, SamnaSession
from .session import Session

__all__ = ["boards", "connect", "driver_module"]

SCHEMES = ("sim", "samna", "fake", "replay")
EXAMPLES = "sim:imu, samna:, samna:XyloImuTestBoard:0, fake:imu or replay:session.xrec"


def connect(
    uri: str,
    *,
    record_to: str | Path | None = None,
    mode: Mode = "accelerated",
    read_timeout: float = 5.0,
    retries: int = 1,
    power_frequency: float | None = None,
    main_clock: float | None = None,
    progress: bool | None = None,
    driver: Any = None,
) -> Session:
    """Open a session with a simulator, a board, an imitated board or a recording.

    Args:
        uri: ``sim:CHIP``; ``samna:`` for the first free board, ``samna:CHIP``, ``samna:BOARD`` or
            ``samna:BOARD:INDEX`` for a certain one; ``fake:CHIP``; ``replay:FILE``.
        record_to: a file that ends in ``.xrec``, written when the session is closed.
        mode: ``"accelerated"``: all steps at once; ``"single-step"``: one by one, every state can be read.
        read_timeout: seconds without an answer after which a board is given up.
        retries: how often a board repeats a configuration, a reset, or a run that began at rest.
        power_frequency: samples per second of a board's power monitor.
        main_clock: of a board's chip in Hz.
        progress: show a bar for batches on a board; None: in a terminal.
        driver: the vendor's module, or one like it; else it is imported, for ``samna:`` only.

    Raises:
        ConfigurationError: the text names nothing that there is, or an option makes no sense.
        DriverMissing, DeviceNotFound, DeviceBusy, FirmwareTooOld: there is no board to be had.
        FileFormatError: the recording is damaged.
    """
    scheme, rest = _parts(uri)
    record_to = None if record_to is None else Path(record_to)
    numbers = {"read_timeout": read_timeout, "power_frequency": power_frequency, "main_clock": main_clock}
    _require_options(mode, record_to, retries, numbers)
    session: Session
    if scheme == "sim":
        from .simulated import SimulatedSession

        session = SimulatedSession(get_chip(rest))
    elif scheme == "replay":
        from .replay import ReplaySession

        session = ReplaySession(rest)
    else:
        if scheme == "samna":
            _chip_named(rest.partition(":")[0])  # a slip of the pen is told before the driver is looked for
        wrapped = SamnaDriver(_driver(scheme, rest) if driver is None else driver)
        session = SamnaSession(
            uri,
            wrapped,
            _chosen(wrapped.boards(), rest, uri),
            mode=mode,
            read_timeout=read_timeout,
            retries=retries,
            power_frequency=power_frequency,
            main_clock=main_clock,
            progress=progress,
        )
    return session if record_to is None else _recorded(session, record_to)


def _parts(uri: str) -> tuple[str, str]:
    """Return what stands before and behind the colon."""
    scheme, colon, rest = str(uri).partition(":")
    if scheme not in SCHEMES:
        raise ConfigurationError(f"{unknown_key_message('session', str(uri), SCHEMES)} Say {EXAMPLES}.")
    if not colon or (scheme == "replay" and not rest):
        raise ConfigurationError(f"{uri!r} is not whole. Say {EXAMPLES}.")
    return scheme, rest


def _require_options(
    mode: str, record_to: Path | None, retries: int, positive: Mapping[str, float | None]
) -> None:
    """Refuse options that make no sense, all at once, before anything is opened."""
    wrong = []
    if mode not in MODES:
        wrong.append(unknown_key_message("mode", str(mode), MODES))
    if record_to is not None and (record_to.suffix != ".xrec" or record_to.is_dir()):
        wrong.append(f"record_to = {record_to} must be a file that ends in .xrec.")
    if not isinstance(retries, int) or retries < 0:
        wrong.append(f"retries = {retries!r} must be 0 or more.")
    for name, value in positive.items():
        if value is not None and not 0 < value < float("inf"):
            wrong.append(f"{name} = {value!r} must be above 0.")
    if wrong:
        raise ConfigurationError(" ".join(wrong))


def _driver(scheme: str, chip: str) -> Any:
    """Return the vendor's driver, or an imitation with one board."""
    if scheme == "samna":
        return driver_module()
    from ..fake_samna import FakeSamna

    return FakeSamna([get_chip(chip).name])


def _recorded(session: Session, path: Path) -> Session:
    from .recorder import RecordingSession

    return RecordingSession(session, path)


def boards(driver: Any = None) -> list[BoardInfo]:
    """Return the Xylo boards that are plugged in, as the vendor's driver sees them.

    Raises:
        DriverMissing: the driver is not installed.
    """
    return SamnaDriver(driver_module() if driver is None else driver).boards()


def driver_module() -> Any:
    """Import the vendor's driver, if it is the real one: the public index's placeholder must never run."""
    found = find_samna()
    if not found.usable:
        state = {
            "absent": "is not installed",
            "stub": "is only the public index's placeholder",
            "leftover": "has left an empty folder and nothing else",
            "real": f"{found.version} is too old",
        }[found.state]
        raise DriverMissing(
            f"The vendor's driver samna {state}. {found.advice} Without a board, use fake:imu or sim:imu."
        )
    from importlib import import_module

    return import_module("samna")


def _chosen(found: list[BoardInfo], wanted: str, uri: str) -> BoardInfo:
    """Return the board that the text after the scheme means."""
    name, _, index = wanted.partition(":")
    chip = _chip_named(name)
    same = [board for board in found if chip is None or board.chip.name == chip.name]
    if index:
        same = [board for board in same if str(board.index) == index]
    if not same:
        listed = ", ".join(map(str, found)) or "none"
        raise DeviceNotFound(
            f"There is no board for {uri!r}. Plugged in: {listed}. Check cable, power, and the rights to the "
            "USB device (the vendor's udev rules)."
        )
    free = [board for board in same if board.free]
    if not free:
        raise DeviceBusy(
            f"{', '.join(map(str, same))}: a board opens once per machine. End the other program, notebook "
            "or session that holds it."
        )
    return free[0]


def _chip_named(name: str) -> Chip | None:
    if not name:
        return None
    by_board = {chip.board: chip for chip in CHIPS.values() if chip.hardware and chip.board}
    if name in by_board:
        return by_board[name]
    known = [*by_board, *(chip.name for chip in by_board.values())]
    if name.lower() not in CHIPS:
        raise ConfigurationError(unknown_key_message("board", name, known))
    return get_chip(name)
