"""Use and limit of one resource; without torch, so that a report can be read where there is none."""

from dataclasses import dataclass

__all__ = ["Resource"]

_TIGHT = 0.9
_COUNTABLE = 2


@dataclass(frozen=True)
class Resource:
    """How much of one limited resource of the chip a network takes."""

    name: str
    used: float
    limit: float

    @property
    def share(self) -> float:
        """Fraction used; 2 for any use of what the chip has none of."""
        return self.used / self.limit if self.limit else 2.0 * (self.used > 0)

    @property
    def state(self) -> str:
        """``"over"`` the limit, ``"tight"`` beyond 90 % of it, or ``"fine"``.

        Of what comes in ones or twos (a second synapse), using all is no sign of a tight fit.
        """
        if self.used > self.limit:
            return "over"
        return "tight" if self.share > _TIGHT and self.limit > _COUNTABLE else "fine"

    @property
    def usage(self) -> str:
        """``63 of 496 (13 %)``, and a mark if that is too much."""
        share = f" ({self.share:.0%})" if self.limit else ""
        mark = "  TOO MUCH" if self.state == "over" else ""
        return f"{self.used:g} of {self.limit:g}{share}{mark}"
