"""What can be made to go wrong with an imitated board."""

from dataclasses import dataclass

__all__ = ["Faults"]


@dataclass(frozen=True)
class Faults:
    """Faults of one board; each counter says how often the fault happens before it is gone.

    Attributes:
        silent_runs: runs that process nothing, so that no readout comes.
        dropped_readouts: runs of which one readout in the middle is lost.
        repeated_readouts: runs of which one readout comes twice.
        reordered_readouts: runs whose readouts come in another order.
        corrupted_writes: configurations of which the chip takes one weight wrongly.
        rejects: what the driver's validator says against every configuration; empty to accept.
        busy: the board is opened by somebody else.
        lost_after: time steps after which the board stops answering, until it is opened again; None: never.
        firmware: versions (fxtree, unifirm) instead of sufficient ones.
        power_jitter: standard deviation of power samples, relative to their mean.
        bad_power_samples: how many of the first power samples of a measurement are no number.
        no_power: the power monitor gives no samples.
        stuck_resets: resets that leave the states as they are.
    """

    silent_runs: int = 0
    dropped_readouts: int = 0
    repeated_readouts: int = 0
    reordered_readouts: int = 0
    corrupted_writes: int = 0
    rejects: str = ""
    busy: bool = False
    lost_after: int | None = None
    firmware: tuple[str, str] | None = None
    power_jitter: float = 0.0
    bad_power_samples: int = 0
    no_power: bool = False
    stuck_resets: int = 0


class FaultCounter:
    """Counts the faults of a board down."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._left = {name: value for name, value in vars(faults).items() if type(value) is int}

    def strikes(self, name: str) -> bool:
        """Whether the fault ``name`` happens now; one occurrence is used up."""
        left = self._left.get(name, 0)
        if left > 0:
            self._left[name] = left - 1
        return left > 0

    def lasts(self, steps: int) -> int | None:
        """Use up to ``steps`` of the steps until the board is lost; return how many are left, None: all.

        The fault happens once.
        """
        left = self._left.get("lost_after")
        if left is None or left < 0:
            return None
        self._left["lost_after"] = left - steps
        return left if left < steps else None
