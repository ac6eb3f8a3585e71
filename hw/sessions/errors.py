"""What can go wrong between a program and the chip that runs it; every fault has its own class."""
# ruff: noqa: N818 - each is named after what happened

from snnkit.utilities.errors import SnnkitError

__all__ = [
    "ConfigurationNotApplied",
    "ConfigurationRejected",
    "DeviceBusy",
    "DeviceLost",
    "DeviceNotFound",
    "DriverMismatch",
    "DriverMissing",
    "FirmwareTooOld",
    "NotConfigured",
    "PowerUnavailable",
    "ReadoutLost",
    "ReadoutTimeout",
    "ReplayMismatch",
    "SessionClosed",
    "SessionError",
    "StateNotReset",
    "StateUnknown",
    "error_named",
]


class SessionError(SnnkitError, RuntimeError):
    """Base of all that a session raises because of its device, driver or recording."""


class DriverMissing(SessionError, ImportError):
    """The vendor's driver is not installed, is the public index's placeholder, or is too old."""


class DriverMismatch(SessionError):
    """The driver lacks a name, or takes other arguments, than the interface this release was written to."""


class DeviceNotFound(SessionError):
    """No such board is connected."""


class DeviceBusy(SessionError):
    """The board is connected but opened already, by this process or another."""


class DeviceLost(SessionError):
    """The board stopped answering: unplugged, powered off, or its driver failed."""


class FirmwareTooOld(SessionError):
    """The board's firmware is older than what the driver's interface needs."""


class ConfigurationRejected(SessionError):
    """The program does not fit the chip; the message lists every reason."""


class ConfigurationNotApplied(SessionError):
    """What the chip holds is not what was written to it."""


class NotConfigured(SessionError):
    """A raster was given before a program."""


class ReadoutTimeout(SessionError, TimeoutError):
    """The chip did not answer in time."""


class ReadoutLost(SessionError):
    """The chip's answers are not one for each time step: some are missing, double or of other steps."""


class StateNotReset(SessionError):
    """States or pending events are still there after a reset."""


class StateUnknown(SessionError):
    """A run failed or was interrupted, so where the chip stands is not known: reset() first."""


class PowerUnavailable(SessionError):
    """There is no measurement of power to report."""


class SessionClosed(SessionError):
    """The session was closed; connect again."""


class ReplayMismatch(SessionError):
    """What is asked of a recording is not what was recorded."""


def error_named(name: str) -> type[SessionError]:
    """Return the class of that name; a name of no class of this module gives :class:`SessionError`."""
    found = globals().get(name) if name in __all__ else None
    return found if isinstance(found, type) and issubclass(found, SessionError) else SessionError
