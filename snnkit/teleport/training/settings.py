"""When and how to teleport during training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from snnkit.dag.scales import BATCH_NORMS
from snnkit.teleport.sampling import SAMPLINGS, range_problems
from snnkit.teleport.training.objectives import Objective
from snnkit.teleport.training.search import Method
from snnkit.teleport.training.transport import Transport
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Mode", "TeleportationSettings"]

Mode = Literal["random", "optim", "gradient", "pseudo", "same_distr"]


@dataclass(frozen=True)
class TeleportationSettings:
    """When and how to teleport; a teleportation takes place before the first step of its epoch.

    Raises:
        ConfigurationError: all that is out of range, at once.
    """

    mode: Mode = "random"
    """``random``: to a random place of the orbit. ``optim``: to the best of several random places.
    ``gradient``: where the slope of the metric leads. Controls, which change the function: ``pseudo`` moves
    every parameter as far as a random teleportation would, in a random direction; ``same_distr`` draws the
    parameters from the histograms of the teleported ones."""
    every_n_epochs: int = 1
    """Teleport before epochs n, 2n, 3n, ..., counted from 0."""
    teleport_only_once: bool = False
    """Teleport before epoch ``every_n_epochs`` only, which may be 0."""
    epochs: tuple[int, ...] = ()
    """If given, teleport before these epochs instead."""
    teleport_prob: float = 1.0
    """Probability of each of these teleportations."""
    cob_range: float = 0.5
    """Half width of the interval of random scales."""
    cob_sampling: str = "intra_landscape"
    center: float = 1.0
    """Of the interval, for the sampling ``centered``."""
    permutations: bool = False
    """Whether channels are permuted as well."""
    metric: Objective = "weighted_grad_norm"
    """Of ``optim`` and ``gradient``: norms of gradients are to be large, everything else small."""
    num_teleportations: int = 10
    """Random places that ``optim`` compares."""
    num_batches: int = 1
    """Batches that the metric is taken on."""
    method: Method = "lbfgs"
    """Of the search of ``gradient``."""
    steps: int = 50
    """Of the search of ``gradient``."""
    max_log_scale: float = math.log(4.0)
    """Bound of ``|log tau|`` in the search of ``gradient``."""
    transport: Transport = "kick"
    """What becomes of the optimiser. After a control its state is always dropped."""
    batch_norm: str = "statistics"
    """Where batch normalisation takes the scale of its input."""
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            *_unknown("mode", self.mode, get_args(Mode)),
            *_unknown("cob_sampling", self.cob_sampling, SAMPLINGS),
            *_unknown("metric", self.metric, get_args(Objective)),
            *_unknown("method", self.method, get_args(Method)),
            *_unknown("transport", self.transport, get_args(Transport)),
            *_unknown("batch_norm", self.batch_norm, BATCH_NORMS),
            *range_problems(self.cob_sampling, self.cob_range, self.center),
            *_out_of_range(self),
        ]
        if problems:
            raise ConfigurationError("Teleportation: " + "; ".join(problems))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TeleportationSettings":
        """Read the settings of a configuration file; an unknown key is an error."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigurationError(unknown_key_message("setting of a teleportation", key, known))
        epochs = tuple(values.get("epochs", ()))
        return cls(**{**values, "epochs": epochs})

    def seed_of(self, epoch: int) -> int:
        """Return the seed of the teleportation before an epoch."""
        return (self.seed * 1_000_003 + epoch) % 2**63

    def wanted(self, epoch: int) -> bool:
        """Whether a teleportation may take place before an epoch, counted from 0."""
        if self.epochs:
            return epoch in self.epochs
        if self.teleport_only_once:
            return epoch == self.every_n_epochs
        return epoch > 0 and epoch % self.every_n_epochs == 0


def _unknown(name: str, value: str, known: Sequence[str]) -> list[str]:
    return [] if value in known else [unknown_key_message(name, value, known)]


def _out_of_range(s: TeleportationSettings) -> list[str]:
    least = 0 if s.teleport_only_once or s.epochs else 1
    limits = [
        (s.every_n_epochs >= least, f"every_n_epochs is {s.every_n_epochs}, at least {least}"),
        (all(epoch >= 0 for epoch in s.epochs), f"epochs are {s.epochs}, at least 0"),
        (0.0 <= s.teleport_prob <= 1.0, f"teleport_prob is {s.teleport_prob}, from 0 to 1"),
        (s.num_teleportations >= 1, f"num_teleportations is {s.num_teleportations}, at least 1"),
        (s.num_batches >= 1, f"num_batches is {s.num_batches}, at least 1"),
        (s.steps >= 1, f"steps is {s.steps}, at least 1"),
        (0.0 < s.max_log_scale < math.inf, f"max_log_scale is {s.max_log_scale}, positive"),
    ]
    problems = [text for holds, text in limits if not holds]
    if s.transport == "transparent" and s.metric == "loss_lookahead" and s.mode in ("optim", "gradient"):
        problems.append(
            "transport is transparent, so that the next step does not depend on the teleportation: "
            'the metric loss_lookahead needs "kick" or "reset"'
        )
    return problems
