"""Sessions: one way to run a program on a simulator, a board, an imitated board, or a recording of one."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .in_the_loop import InTheLoop
    from .validation import DeviceValidation, validate_on

_LAZY = {"DeviceValidation": "validation", "InTheLoop": "in_the_loop", "validate_on": "validation"}
"""What needs training or mapping is loaded when it is first used."""

__all__ = [
    "ConfigurationNotApplied",
    "ConfigurationRejected",
    "DeviceBusy",
    "DeviceLost",
    "DeviceNotFound",
    "DeviceValidation",
    "DriverMismatch",
    "DriverMissing",
    "FirmwareTooOld",
    "InTheLoop",
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
    "validate_on",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
