"""How a pipeline tells its caller what it is doing, without knowing whether anyone looks."""

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Receives the pipeline's news. Stages come one after the other and never nest."""

    def start(self, stage: str, total: int | None = None) -> None:
        """A stage begins; ``total`` is its number of steps where that is known."""

    def advance(self, done: int, note: str = "") -> None:
        """``done`` steps of the present stage are finished; ``note`` is a short state such as a loss."""

    def finish(self, note: str = "") -> None:
        """The present stage ended; ``note`` is its result in a few words."""


class Silent:
    """Progress that nobody sees."""

    def start(self, stage: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, done: int, note: str = "") -> None:
        """Do nothing."""

    def finish(self, note: str = "") -> None:
        """Do nothing."""
