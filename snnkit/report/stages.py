"""The stages of a run that have an accuracy, with the words and the colour for each."""

from dataclasses import dataclass

__all__ = ["STAGES", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        title: What its net is called.
        colour: Its role in :data:`snnkit.report.style.COLOURS`.
        training: What its training is called; empty where nothing is trained.
    """

    title: str
    colour: str
    training: str


STAGES = {
    "float": Stage("Float", "float", "float training"),
    "qat": Stage("Quantised", "tuned", "quantisation-aware training"),
    "chip_exact": Stage("Chip-exact", "tuned", "chip-exact training"),
    "chip": Stage("Chip", "chip", ""),
}
"""By key of predictions, accuracies and histories, in the order of a run."""
