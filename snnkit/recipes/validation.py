"""Stage ``validate``: does the chip do what the net does, and does the simulator do what the chip does."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snnkit.hw.divergence.diverge import diverge
from snnkit.hw.divergence.result import Comparison, Divergence, LayerAgreement
from snnkit.hw.xylo.specification.core import Specification
from snnkit.hw.xylo.validation.validate import validate as compare_events
from snnkit.hw.xylo.validation.vectors import check_vectors
from snnkit.recipes.chip_stages import load_program
from snnkit.recipes.exactness import Exactness, compare_exactly
from snnkit.recipes.finetune_stage import Trained, load_trained
from snnkit.recipes.metrics_file import update_metrics
from snnkit.recipes.progress import Progress
from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import ConfigurationError, FileFormatError, SnnkitError
from snnkit.utilities.files import read_json, write_json

__all__ = [
    "ExactnessError",
    "SimulatorError",
    "Validation",
    "read_validation",
    "validate_program",
    "validate_run",
]

_COMPARED = 1000
"""Recordings compared at most: net and chip are recorded in every step."""


class SimulatorError(SnnkitError, RuntimeError):
    """The test vectors do not come again, or the fast simulator and the readable one disagree."""


class ExactnessError(SnnkitError, RuntimeError):
    """A chip-exact net and the simulation of its program differ: a fault of snnkit, or of damaged files."""


@dataclass(frozen=True)
class Validation:
    """How far the fine-tuned net and the chip agree on the test split.

    Attributes:
        compared: Recordings compared, event by event.
        same_class: Fraction of them to which both give the same class.
        vectors: Test vectors that came again bit by bit.
        referenced: How many of them the readable reference answered with the same bits too.
        comparison: Agreement layer by layer, and the first difference with its cause.
        exactness: Of a chip-exact net: how many events and states were compared, none of which may differ.
    """

    compared: int
    same_class: float
    vectors: int
    referenced: int
    comparison: Comparison
    exactness: Exactness | None

    @property
    def populations(self) -> tuple[LayerAgreement, ...]:
        """Agreement of each population."""
        return self.comparison.layers

    @property
    def divergence(self) -> Divergence | None:
        """The first step in which a number of events differs, and why; None if none does."""
        return self.comparison.divergence

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "compared": self.compared,
            "same_class": self.same_class,
            "vectors": self.vectors,
            "referenced": self.referenced,
            "comparison": self.comparison.to_json(),
            "exactness": None if self.exactness is None else asdict(self.exactness),
        }


def validate_run(folder: RunFolder, progress: Progress) -> Validation:
    """Validate the program of a run; see :func:`validate_program`."""
    specification, _ = load_program(folder)
    return validate_program(load_trained(folder), specification, folder, progress)


def validate_program(
    trained: Trained, specification: Specification, folder: RunFolder, progress: Progress
) -> Validation:
    """Compare net and chip on the test split, run the test vectors again, and write what was found.

    Raises:
        ConfigurationError: the program was not simulated yet.
        SimulatorError: the vectors do not come again.
        ExactnessError: a chip-exact net and its program differ.
    """
    if not folder.vectors.is_file():
        raise ConfigurationError(
            f"{folder.path} is not simulated yet. Do so with: snnkit simulate {folder.path}"
        )
    progress.start("Validating against the trained net")
    vectors = check_vectors(specification, folder.vectors)
    if not vectors.passed:
        raise SimulatorError(
            f"{folder.vectors} does not come again. {vectors} If the program was deployed anew, simulate it "
            f"first: snnkit simulate {folder.path}"
        )
    compare = _compare_exact if trained.is_exact else _compare_rounded
    validation = compare(trained, specification, (vectors.samples, vectors.referenced))
    write_json(folder.validation, validation.to_json())
    if validation.exactness is not None:
        update_metrics(folder, trained.prepared.recipe, exactness=asdict(validation.exactness))
    progress.finish(_told(validation))
    return validation


def _compare_exact(trained: Trained, specification: Specification, vectors: tuple[int, int]) -> Validation:
    events = trained.prepared.test_events[:_COMPARED]
    inputs = np.pad(events, ((0, 0), (0, trained.lag), (0, 0)))
    exactness = compare_exactly(trained.tuned_net, specification, inputs)
    comparison = diverge(trained.tuned_net, specification, inputs)
    if not exactness.exact:
        raise ExactnessError(
            f"The trained net and the simulation of its program differ in {exactness.differing_events} of "
            f"{exactness.events} events and {exactness.differing_states} of {exactness.states} states. They "
            "are one by construction: deploy again with snnkit deploy; if that does not help, it is a fault "
            f"of snnkit. First difference: {comparison.divergence}"
        )
    return Validation(len(events), 1.0, *vectors, comparison=comparison, exactness=exactness)


def _compare_rounded(trained: Trained, specification: Specification, vectors: tuple[int, int]) -> Validation:
    prepared = trained.prepared
    found = compare_events(
        trained.tuned_net,
        specification,
        prepared.test_events[:_COMPARED],
        prepared.test_labels[:_COMPARED].copy(),
        readout=prepared.readout.predict,
    )
    return Validation(
        compared=found.samples,
        same_class=found.prediction_agreement,
        vectors=vectors[0],
        referenced=vectors[1],
        comparison=found.comparison,
        exactness=None,
    )


def _told(validation: Validation) -> str:
    if validation.exactness is not None:
        found = validation.exactness
        return (
            f"no difference in {found.events:,} events and {found.states:,} states of "
            f"{validation.compared} recordings"
        )
    agreement = ", ".join(f"{p.path} {p.same_events:.1%}" for p in validation.populations)
    return f"same class in {validation.same_class:.1%}; same events in every neuron and step: {agreement}"


def read_validation(folder: RunFolder) -> Validation:
    """Return what :func:`validate_program` wrote.

    Raises:
        ConfigurationError: the run was not validated yet.
        FileFormatError: the file is damaged.
    """
    if not folder.validation.is_file():
        raise ConfigurationError(
            f"{folder.path} is not validated yet. Do so with: snnkit validate {folder.path}"
        )
    table = read_json(folder.validation)
    try:
        comparison, exactness = Comparison.from_json(table.pop("comparison")), table.pop("exactness")
        return Validation(
            **table,
            comparison=comparison,
            exactness=None if exactness is None else Exactness(**exactness),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{folder.validation} does not hold a validation: {error}") from error
