"""Sessions: one way to run a program on a simulator, a board, an imitated board, or a recording of one."""

from .connect import boards, connect
from .errors import (
    ConfigurationNotApplied,
    ConfigurationRejected,
    DeviceBusy,
    DeviceLost,
    DeviceNotFound,
    DriverMismatch,
    DriverMissing,
    FirmwareTooOld,
    NotConfigured,
    PowerUnavailable,
    ReadoutLost,
    ReadoutTimeout,
    ReplayMismatch,
    SessionClosed,
    SessionError,
    StateNotReset,
    StateUnknown,
)
from .power import PowerReading, SessionPower
from .session import Session

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
    "PowerReading",
    "PowerUnavailable",
    "ReadoutLost",
    "ReadoutTimeout",
    "ReplayMismatch",
    "Session",
    "SessionClosed",
    "SessionError",
    "SessionPower",
    "StateNotReset",
    "StateUnknown",
    "boards",
    "connect",
]
