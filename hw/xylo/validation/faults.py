"""Why a device does not do what the simulator of its program does."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...divergence.first import first_difference
from ...divergence.result import Alteration
from ...divergence.trace import Trace
from ...sessions.errors import SessionError
from ..simulator.xylo_sim import XyloSim
from ..specification.core import Specification
from .layout import Layout, padded
from .sides import ProgramSide, Session, program_trace, simulated

__all__ = ["Finding", "explain"]

_LATEST = 3
"""Steps by which a device's clock may be off."""


@dataclass(frozen=True)
class Finding:
    """A cause, in a word and in a sentence, and the parameters that explain it."""

    cause: str
    reason: str
    candidates: tuple[Alteration, ...] = ()


def explain(
    program: ProgramSide, answer: Trace, layout: Layout, counts: np.ndarray, on_a: bool = False
) -> Finding:
    """Return why the answer of a device differs from the simulator's.

    Tried are, in this order: answers that do not come again, that come late, that begin with the states of
    the sample before, and single altered parameters.

    Args:
        program: what should run.
        answer: what was told, all of ``counts``.
        layout: which neurons are whose.
        counts: (batch, time, Nin).
        on_a: whether the device is the first side.
    """
    spec, record = program.specification, program.last_answer
    steps = next(iter(record.values())).shape[1]
    counts = padded(counts, steps - counts.shape[1]) if steps > counts.shape[1] else counts[:, :steps]
    expected = {name: values for name, values in simulated(spec, counts).items() if name in record}
    theirs = {name: values for name, values in record.items() if name in expected}
    ours = program_trace(expected, spec, layout.populations, layout.delays, "")
    place = first_difference(ours, answer, steps)
    if place is None:
        return Finding("not attributed", "not attributed: the device does what the simulator does.")
    title = f"the {program.title}"
    if _is_unsteady(program, counts, place.sample):
        return Finding("noise", f"noise: {title} does not give the same answer again.")
    for late in (*range(1, _LATEST + 1), *range(-1, -_LATEST - 1, -1)):
        if _is_shifted(expected, theirs, late):
            words = f"{abs(late)} {'step' if abs(late) == 1 else 'steps'} {'late' if late > 0 else 'early'}"
            return Finding("delay", f"delay: {title} answers {words}.")
    if _keeps_states(spec, counts, theirs):
        return Finding("kept state", f"kept state: {title} begins each sample with the states of the last.")
    from .alteration_search import search

    found = search(
        spec, counts, expected, theirs, populations=layout.populations, sample=place.sample, on_a=on_a
    )
    return _told(title, found, on_a=on_a, inner=bool({"Spikes", "Vmem"} & theirs.keys()))


def _told(title: str, found: tuple[Alteration, ...], *, on_a: bool, inner: bool) -> Finding:
    """Put candidates into words; ``inner`` tells whether hidden neurons were observed."""
    if not found or not found[0].explained:
        words = f"not attributed: no single altered parameter makes the simulator do what {title} did"
        nearest = f"; the difference begins as if {found[0].place} were another" if found else ""
        return Finding("not attributed", words + nearest + ".", found)
    best = [candidate for candidate in found if candidate.explained == found[0].explained]
    ours, theirs = (best[0].a_value, best[0].b_value)[:: -1 if on_a else 1]
    words = f"{title} runs as if {best[0].place} were {theirs} instead of {ours}"
    if len(best) > 1:
        words += f", or as if one of {len(best) - 1} other parameters were another"
    words += f"; {best[0].explained:.0%} of the samples agree wholly with it"
    if not inner:
        words += " (without hidden neurons in the record, parameters beside these may explain it too)"
    return Finding("altered parameter", f"altered parameter: {words}.", found)


def _is_unsteady(program: ProgramSide, counts: np.ndarray, sample: int) -> bool:
    """Run a sample on a session once more; a recording of a session answers nothing but what was asked."""
    if program.is_recorded or not isinstance(program.source, Session):
        return False
    first = {name: values[sample] for name, values in program.last_answer.items()}
    try:
        again = program.run_session(counts[sample][None])
    except SessionError:
        return False
    return any(not np.array_equal(values, again[name][0]) for name, values in first.items())


def _is_shifted(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], late: int) -> bool:
    for name, values in expected.items():
        ours, theirs = (values, found[name]) if late > 0 else (found[name], values)
        if not np.array_equal(ours[:, : -abs(late)], theirs[:, abs(late) :]):
            return False
    return True


def _keeps_states(spec: Specification, counts: np.ndarray, found: Mapping[str, np.ndarray]) -> bool:
    """Run the samples one after another without a reset in between."""
    sim = XyloSim(spec)
    for sample in range(len(counts)):
        output, _, record = sim(counts[sample], record=True)
        answer = record | {"Spikes_out": output}
        if any(not np.array_equal(values[sample], answer[name]) for name, values in found.items()):
            return False
    return True
