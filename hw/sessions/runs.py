"""The two ways to run a raster on a board: in accelerated time, and step by step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..xylo.simulator.run import RECORDS
from ..xylo.specification.core import Specification
from .answer import OUTPUT, record_width
from .errors import ReadoutLost
from .samna_driver import Readout, SamnaBoard
from .states import States, read_states
from .waiting import Waiter

__all__ = ["Ran", "run_accelerated", "run_single_steps"]


@dataclass(frozen=True, eq=False)
class Ran:
    """What came of one raster: records ``(time, neurons)``, the first step's number, readouts moved."""

    recorded: dict[str, np.ndarray]
    first_step: int
    reordered: int


def _next_step(board: SamnaBoard, waiter: Waiter) -> int:
    """Ask for the last step that the chip did; before the first one it may be any number below 0."""
    board.clear()
    board.write([board.event("TriggerReadout")])
    events = waiter.until(lambda found: bool(board.readouts(found)), "the step counter")
    return max(board.readouts(events)[-1].step, -1) + 1


def run_accelerated(
    board: SamnaBoard, waiter: Waiter, spec: Specification, counts: np.ndarray, wanted: tuple[str, ...]
) -> Ran:
    """Send all events of ``(time, Nin)`` counts at once; the chip runs as fast as it can."""
    first = _next_step(board, waiter)
    board.clear()
    if not len(counts):
        return Ran(_empty(spec, wanted), first, 0)
    last = first + len(counts) - 1
    board.write(board.spikes(counts, first) + board.end_of_run(last))

    def is_over(events: list) -> bool:
        found = board.readouts(events)
        return bool(found) and max(readout.step for readout in found) >= last

    readouts = board.readouts(waiter.until(is_over, f"time step {last}"))
    ordered, moved = _one_per_step(readouts, first, last)
    return Ran(_recorded(board, spec, ordered, wanted), first, moved)


def _one_per_step(readouts: list[Readout], first: int, last: int) -> tuple[list[Readout], int]:
    """Return the readouts in order, and how many stood in another place; every step has exactly one."""
    steps = [readout.step for readout in readouts]
    expected = list(range(first, last + 1))
    missing, foreign = sorted(set(expected) - set(steps)), sorted(set(steps) - set(expected))
    double = sorted({step for step in steps if steps.count(step) > 1}) if len(set(steps)) < len(steps) else []
    if missing or foreign or double:
        kinds = {"missing": missing, "not asked for": foreign, "double": double}
        told = "; ".join(f"{kind}: {_few(found)}" for kind, found in kinds.items() if found)
        raise ReadoutLost(
            f"The chip must answer each of the steps {first}..{last} once, but {told}. Nothing of this run "
            "is returned. Run it again from rest: call reset(), or give rasters as a batch."
        )
    return sorted(readouts, key=lambda readout: readout.step), sum(
        a != b for a, b in zip(steps, expected, strict=True)
    )


def _few(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:5])) + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")


def _recorded(
    board: SamnaBoard, spec: Specification, readouts: list[Readout], wanted: tuple[str, ...]
) -> dict[str, np.ndarray]:
    n, n_out = spec.n_hidden, spec.n_out
    rows: dict[str, tuple[Callable[[Readout], object], slice]] = {
        OUTPUT: (lambda r: r.output_spikes, slice(0, n_out)),
        "Spikes": (lambda r: r.hidden_spikes, slice(0, n)),
        "Vmem": (lambda r: r.vmem, slice(0, n)),
        "Vmem_out": (lambda r: r.vmem, slice(n, n + n_out)),
        "Isyn": (lambda r: r.isyn, slice(0, n)),
        "Isyn_out": (lambda r: r.isyn, slice(n, n + n_out)),
        "Isyn2": (lambda r: r.isyn2, slice(0, n)),
    }
    from_sink = wanted if board.names.state_sink else ()
    found: dict[str, np.ndarray] = board.sink_states(from_sink) if from_sink else {}
    for name in (OUTPUT, *wanted):
        if name not in found:
            read, share = rows[name]
            found[name] = np.array([read(readout) for readout in readouts], np.int64)[:, share]
    return {name: _checked(spec, name, found[name], len(readouts)) for name in (OUTPUT, *wanted)}


def _checked(spec: Specification, name: str, values: np.ndarray, steps: int) -> np.ndarray:
    """Return a record in the chip's width; one of another shape is refused."""
    expected = (steps, record_width(spec, name))
    if values.shape != expected:
        raise ReadoutLost(
            f"The chip reported {name} as {values.shape} instead of {expected} values. Nothing of this run "
            "is returned."
        )
    return values.astype(RECORDS[name])


def _empty(spec: Specification, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: np.zeros((0, record_width(spec, name)), RECORDS[name]) for name in (OUTPUT, *wanted)}


def run_single_steps(
    board: SamnaBoard, waiter: Waiter, spec: Specification, counts: np.ndarray, wanted: tuple[str, ...]
) -> Ran:
    """Run one step after another and read every state in between: slow, and everything can be seen."""
    first = _next_step(board, waiter)
    board.clear()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (OUTPUT, *wanted)}
    for offset, row in enumerate(counts):
        spikes = [
            board.event("Spike", neuron_id=int(k)) for k in np.nonzero(row)[0] for _ in range(int(row[k]))
        ]
        board.write([*spikes, board.event("TriggerProcessing"), board.event("TriggerReadout")])
        step = first + offset
        events = waiter.until(lambda found: bool(board.readouts(found)), f"time step {step}")
        readout = board.readouts(events)[-1]
        if readout.step != step:
            raise ReadoutLost(
                f"The chip did step {readout.step} when step {step} was asked for. Nothing of this run is "
                "returned."
            )
        rows[OUTPUT].append(np.asarray(readout.output_spikes))
        if wanted:
            states = read_states(board, waiter, spec)
            for name in wanted:
                rows[name].append(_state_record(states, name))
    if not len(counts):
        return Ran(_empty(spec, wanted), first, 0)
    arrays = {name: _checked(spec, name, np.array(values), len(counts)) for name, values in rows.items()}
    return Ran(arrays, first, 0)


def _state_record(states: States, name: str) -> np.ndarray:
    """Return what a record of this step holds."""
    return {
        "Spikes": states.spikes,
        "Vmem": states.vmem,
        "Vmem_out": states.vmem_out,
        "Isyn": states.isyn[0],
        "Isyn_out": states.isyn_out,
        "Isyn2": states.isyn[-1],
    }[name]
