"""Stage ``validate``: does the chip do what the net does, and does the simulator do what the chip does."""

from dataclasses import asdict, dataclass

from snnkit.hw.xylo.specification.core import Specification
from snnkit.hw.xylo.validation.divergence import Divergence
from snnkit.hw.xylo.validation.validate import Validation as Comparison
from snnkit.hw.xylo.validation.validate import validate as compare
from snnkit.hw.xylo.validation.vectors import check_vectors
from snnkit.recipes.chip_stages import load_program
from snnkit.recipes.progress import Progress
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import Trained, load_trained
from snnkit.utilities.errors import ConfigurationError, FileFormatError, SnnkitError
from snnkit.utilities.files import read_json, write_json

__all__ = ["SimulatorError", "Validation", "read_validation", "validate_program", "validate_run"]

_COMPARED = 1000
"""Recordings compared at most: net and chip are recorded in every step."""


class SimulatorError(SnnkitError, RuntimeError):
    """The test vectors do not come again, or the fast simulator and the readable one disagree."""


@dataclass(frozen=True)
class Population:
    """Agreement of one population: events in all, and the fraction of neurons and steps that agree."""

    path: str
    net_events: int
    chip_events: int
    same_events: float


@dataclass(frozen=True)
class Validation:
    """How far the net after QAT and the chip agree on the test split.

    Attributes:
        compared: Recordings compared, event by event.
        same_class: Fraction of them to which both give the same class.
        populations: Agreement of each population.
        vectors: Test vectors that came again bit by bit.
        referenced: How many of them the readable reference answered with the same bits too.
        divergence: The first step in which a number of events differs, and why; None if none does.
    """

    compared: int
    same_class: float
    populations: tuple[Population, ...]
    vectors: int
    referenced: int
    divergence: Divergence | None


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
    prepared = trained.prepared
    found = compare(
        trained.qat_net,
        specification,
        prepared.test_events[:_COMPARED],
        prepared.test_labels[:_COMPARED].copy(),
        readout=prepared.readout.predict,
    )
    validation = _in_short(found, vectors.samples, vectors.referenced)
    write_json(folder.validation, asdict(validation))
    agreement = ", ".join(f"{p.path} {p.same_events:.1%}" for p in validation.populations)
    progress.finish(
        f"same class in {validation.same_class:.1%}; same events in every neuron and step: {agreement}"
    )
    return validation


def _in_short(found: Comparison, vectors: int, referenced: int) -> Validation:
    populations = tuple(
        Population(p.path, p.net_events, p.chip_events, p.same_events) for p in found.populations
    )
    return Validation(
        compared=found.samples,
        same_class=found.prediction_agreement,
        populations=populations,
        vectors=vectors,
        referenced=referenced,
        divergence=found.divergence,
    )


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
        divergence = table.pop("divergence")
        populations = tuple(Population(**entry) for entry in table.pop("populations"))
        found = None if divergence is None else Divergence(**divergence)
        return Validation(**table, populations=populations, divergence=found)
    except (TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{folder.validation} does not hold a validation: {error}") from error
