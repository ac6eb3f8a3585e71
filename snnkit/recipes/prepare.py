"""From recordings to rasters, once for all stages of a run."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnkit.data import Encoder, Split, fit_encoder, load_folder
from snnkit.data import load_basic_motions as _basic_motions
from snnkit.data import load_japanese_vowels as _japanese_vowels
from snnkit.recipes.recipe import DataSection, Recipe
from snnkit.training.augmentation import Augmentation
from snnkit.training.readout import Readout
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Prepared", "load_recordings", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """What the stages share: recordings, the fitted encoder, rasters of the test split.

    Attributes:
        recipe: The recipe.
        chip: Its chip, with weights of the bits that the recipe asks for.
        split: The recordings.
        encoder: Fitted on the training split.
        train_levels: ``(recordings, time, channels)`` float32, before rounding to events.
        test_events: ``(recordings, time, channels)`` uint8.
        readout: From output events to classes.
    """

    recipe: Recipe
    chip: Chip
    split: Split
    encoder: Encoder
    train_levels: Tensor
    test_events: np.ndarray
    readout: Readout

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.split.train.classes

    @property
    def train_labels(self) -> Tensor:
        """Training labels ``(recordings,)``."""
        return torch.from_numpy(self.split.train.labels.copy())

    @property
    def test_labels(self) -> np.ndarray:
        """Test labels ``(recordings,)``."""
        return self.split.test.labels

    @property
    def augmentation(self) -> Augmentation:
        """The recipe's random changes of training inputs."""
        training = self.recipe.training
        return Augmentation(
            time_warp=training.time_warp,
            gain_noise=training.gain_noise,
            level_noise=training.level_noise,
            cap=self.chip.input_event_cap,
        )

    def calibration_events(self) -> Tensor:
        """Events of training recordings for observing state ranges. Never test recordings."""
        return self.augmentation.events(self.train_levels[self._calibration_index()])

    def calibration_labels(self) -> Tensor:
        """Labels of :meth:`calibration_events`."""
        return self.train_labels[self._calibration_index()]

    def _calibration_index(self) -> Tensor:
        count = min(len(self.train_levels), self.recipe.finetuning.calibration_recordings)
        # Folders are sorted by name, hence often by class: the first ones would be of one class.
        return torch.linspace(0, len(self.train_levels) - 1, count).round().long()


def load_recordings(section: DataSection) -> Split:
    """Return the recordings that ``[data]`` names.

    Raises:
        ConfigurationError: a folder is wanted and none is named.
        DataError: the recordings cannot be used.
    """
    if section.source == "folder":
        if not section.path:
            raise ConfigurationError(
                "This recipe reads a folder of recordings and none is named. "
                "Give it with --data DIRECTORY, or as path in the recipe's [data]."
            )
        return load_folder(section.path, section.layout(), section.split_seed)
    return {"basic-motions": _basic_motions, "japanese-vowels": _japanese_vowels}[section.source]()


def prepare(recipe: Recipe, split: Split | None = None) -> Prepared:
    """Load and encode the recordings of ``recipe``; ``split`` takes the place of those that it names.

    Raises:
        ConfigurationError: the chip cannot hold the encoding's channels or the read-out's outputs.
    """
    chip = get_chip(recipe.chip).with_weight_bits(recipe.network.weight_bits)
    split = split if split is not None else load_recordings(recipe.data)
    encoder = fit_encoder(recipe.encoding, split.train, chip)
    readout = Readout(len(split.train.classes), recipe.network.outputs_per_class)
    if readout.outputs > chip.max_outputs:
        raise ConfigurationError(
            f"{readout.classes} classes with {readout.outputs_per_class} outputs each need {readout.outputs} "
            f"output neurons; {chip.title} ({chip.name}) has {chip.max_outputs}. "
            f"Set network.outputs_per_class to {max(1, chip.max_outputs // readout.classes)}"
            + (" and choose a chip with more outputs." if readout.classes > chip.max_outputs else ".")
        )
    return Prepared(
        recipe=recipe,
        chip=chip,
        split=split,
        encoder=encoder,
        train_levels=torch.from_numpy(encoder.levels(split.train)),
        test_events=encoder.encode(split.test),
        readout=readout,
    )
