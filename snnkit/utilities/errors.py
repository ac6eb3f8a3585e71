"""The exceptions that snnkit raises for mistakes a user can mend.

Every message says what happened, where, the value against the limit, and the fix.
Classes that replace a Rockpool ``ValueError`` or ``TypeError`` also inherit that type,
so code that catches the built-in one keeps working.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigurationError",
    "DataError",
    "FileFormatError",
    "MissingDependencyError",
    "ParameterError",
    "ShapeError",
    "SnnkitError",
    "nearest_match",
    "unknown_key_message",
]


class SnnkitError(Exception):
    """Base of all exceptions that snnkit raises on purpose."""


class ShapeError(SnnkitError, ValueError):
    """A tensor or a layer has a size that does not fit its place."""


class ParameterError(SnnkitError, ValueError):
    """A parameter has an impossible value (a threshold of zero, two leak families at once)."""


class ConfigurationError(SnnkitError, ValueError):
    """A configuration names something that does not exist, or contradicts itself."""


class DataError(SnnkitError, ValueError):
    """Recordings or labels cannot be used as given."""


class FileFormatError(SnnkitError, ValueError):
    """A file is damaged, of another kind, or of a version that this release cannot read."""


class MissingDependencyError(SnnkitError, ImportError):
    """An optional package is needed; the message says which extra installs it."""


def nearest_match(name: str, known: Iterable[str]) -> str | None:
    """Return the entry of ``known`` that looks most like ``name``, or None."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_key_message(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that ``name`` is not a known ``kind``, with the nearest match or the whole list."""
    names = sorted(known)
    match = nearest_match(name, names)
    hint = f"Did you mean {match!r}?" if match else f"Known: {', '.join(names)}."
    return f"Unknown {kind} {name!r}. {hint}"
