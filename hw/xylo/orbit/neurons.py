"""Neurons whose integers are searched: what they are in float, what drives them, what they should send."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snnkit.utilities.chips import Chip
from snnkit.utilities.compilation import told_if_slow

from ..deployment.quantising import dashes_of, folded_bias
from ..mapping.mapped_network import MappedNetwork
from ..simulator.program import WIDTH
from .drive import Drive, Lanes, drive_of, restricted
from .teacher import Teacher

__all__ = ["Candidates", "Layer", "Neuron", "Shifts", "hidden_layer", "judge", "output_layer"]

Shifts = tuple[int, ...]
"""Weight shifts by bank: of inputs and of recurrent weights, or of output weights alone."""


@dataclass(frozen=True, eq=False)
class Neuron:
    """One neuron, with the sources that have weights to it.

    Attributes:
        weights: (sources, synapses) float64.
        bank: (sources,) which of the layer's weight shifts is theirs.
        threshold: in float.
        bias: in float, constant synaptic input folded in.
        dash_syn: (synapses,).
        dash_mem: of the membrane.
        drive: events that arrive.
        target: int16 (samples, steps) events that the float network sends.
        copies: int16, events that aliases bring before it fires; empty without aliases.
        cap: most events in a step.
        chip: the chip.
    """

    weights: np.ndarray
    bank: np.ndarray
    threshold: float
    bias: float
    dash_syn: np.ndarray
    dash_mem: int
    drive: Drive
    target: np.ndarray
    copies: np.ndarray
    cap: int
    chip: Chip

    @property
    def never_fires(self) -> bool:
        """Whether its threshold is there so as not to be reached."""
        return self.threshold >= self.chip.max_threshold

    def largest_scale(self, shifts: Shifts) -> float:
        """Return the scale at which the largest weight, or the threshold, uses its whole range."""
        limits = [] if self.never_fires else [self.chip.max_threshold / self.threshold]
        for bank, shift in enumerate(shifts):
            peak = np.abs(self.weights[self.bank == bank]).max(initial=0.0)
            if peak > 0:
                limits.append(self.chip.max_weight * 2.0**shift / peak)
        return min(limits, default=float(self.chip.max_threshold))


@dataclass(frozen=True, eq=False)
class Layer:
    """All neurons of a layer over the same sources; float arrays, as :class:`Neuron` has them.

    Attributes:
        weights: (sources, N, synapses).
        bank: (sources,).
        threshold: (N,).
        bias: (N,).
        dash_syn: (N, synapses).
        dash_mem: (N,).
        drive: events of all sources.
        target: int16 (N, samples, steps).
        copies: the same, or empty.
        cap: most events of a neuron in a step.
        chip: the chip.
    """

    weights: np.ndarray
    bank: np.ndarray
    threshold: np.ndarray
    bias: np.ndarray
    dash_syn: np.ndarray
    dash_mem: np.ndarray
    drive: Drive
    target: np.ndarray
    copies: np.ndarray
    cap: int
    chip: Chip

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.threshold)

    def sources_of(self, neuron: int) -> np.ndarray:
        """Return (sources,) whether there are weights to a neuron."""
        return np.asarray(self.weights[:, neuron].any(axis=1))

    def neuron(self, number: int) -> Neuron:
        """Return one neuron, with the sources that it has."""
        wanted = self.sources_of(number)
        return Neuron(
            weights=self.weights[wanted, number],
            bank=self.bank[wanted],
            threshold=float(self.threshold[number]),
            bias=float(self.bias[number]),
            dash_syn=self.dash_syn[number].astype(np.int16),
            dash_mem=int(self.dash_mem[number]),
            drive=restricted(self.drive, wanted),
            target=self.target[number],
            copies=self.copies[number] if self.copies.size else np.zeros((0, 0), np.int16),
            cap=self.cap,
            chip=self.chip,
        )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Integers to be tried for one neuron.

    Attributes:
        weights: (candidates, sources, synapses), or (1, ...) for all, before the weight shifts.
        threshold: (candidates,).
        bias: (candidates,).
    """

    weights: np.ndarray
    threshold: np.ndarray
    bias: np.ndarray


def judge(neuron: Neuron, shifts: Shifts, candidates: Candidates) -> np.ndarray:
    """Return for each candidate by how many events it differs from the float network: int64 (candidates,).

    The chip's arithmetic is carried out in full, from rest in every sample, on the events of ``drive``.
    """
    judge_lanes = _kernel()
    count = len(candidates.threshold)
    found = np.zeros(-(-count // WIDTH) * WIDTH, np.int64)
    factor = (1 << np.asarray(shifts))[neuron.bank][:, None, None]
    scratch = np.zeros(WIDTH, np.int16)
    for start in range(0, count, WIDTH):
        lanes = np.minimum(np.arange(start, start + WIDTH), count - 1)
        rows = candidates.weights[lanes if len(candidates.weights) > 1 else np.zeros(WIDTH, int)]
        constants = Lanes(
            version=neuron.chip.core_version,
            cap=np.int16(neuron.cap),
            dash_syn=neuron.dash_syn,
            dash_mem=np.int16(neuron.dash_mem),
            bias=candidates.bias[lanes].astype(np.int16),
            threshold=candidates.threshold[lanes].astype(np.int16),
        )
        # Shifted weights wrap in 16 bits, as in the chip's own registers.
        shifted = np.ascontiguousarray((rows.transpose(1, 2, 0) * factor).astype(np.int16))
        mismatch = found[start : start + WIDTH]
        judge_lanes(neuron.drive, shifted, constants, neuron.target, neuron.copies, scratch, mismatch)
    return found[:count]


@functools.cache
def _kernel() -> Callable[..., None]:
    """Import the kernel, and compile it if this machine has not done so before."""
    with told_if_slow("judge of neurons"):
        from .kernel import judge_lanes

        drive = drive_of(np.zeros((0, 0, 1), np.int16))
        numbers = np.zeros(WIDTH, np.int16)
        lanes = Lanes(2, np.int16(0), numbers[:1], np.int16(1), numbers, numbers)
        nothing = np.zeros((0, 0), np.int16)
        weights = np.zeros((1, 1, WIDTH), np.int16)
        judge_lanes(drive, weights, lanes, nothing, nothing, numbers, np.zeros(WIDTH, np.int64))
    kernel: Callable[..., None] = judge_lanes
    return kernel


def hidden_layer(mapped: MappedNetwork, teacher: Teacher, sent: np.ndarray | None = None) -> Layer:
    """Return the hidden neurons, driven by the float network's events.

    Args:
        mapped: the network.
        teacher: its events.
        sent: int16 (samples, steps, Nhid) events of a program's hidden neurons, to drive them instead.
    """
    n_in, n_hidden, _ = mapped.shape
    inputs = np.zeros((n_in, n_hidden, mapped.n_synapses))
    inputs[:, : mapped.weights_in.shape[1]] = mapped.weights_in
    dash_syn = dashes_of(mapped.decay_syn, mapped.chip)
    copies = teacher.copies
    return Layer(
        weights=np.concatenate([inputs, mapped.weights_rec]),
        bank=np.repeat([0, 1], [n_in, n_hidden]),
        threshold=mapped.threshold,
        bias=folded_bias(mapped.bias, mapped.synaptic_bias, dash_syn).numpy(),
        dash_syn=dash_syn.numpy(),
        dash_mem=dashes_of(mapped.decay_mem, mapped.chip).numpy(),
        drive=drive_of(np.concatenate([teacher.inputs, _late(teacher, sent)], axis=2)),
        target=_by_neuron(teacher.own),
        copies=_by_neuron(copies) if copies.size else copies,
        cap=mapped.chip.hidden_event_cap,
        chip=mapped.chip,
    )


def output_layer(mapped: MappedNetwork, teacher: Teacher, sent: np.ndarray | None = None) -> Layer:
    """Return the output neurons; see :func:`hidden_layer`."""
    driving = mapped.weights_out.shape[0]
    dash_syn = dashes_of(mapped.decay_syn_out[:, None], mapped.chip)
    return Layer(
        weights=mapped.weights_out[:, :, None],
        bank=np.zeros(driving, np.int64),
        threshold=mapped.threshold_out,
        bias=folded_bias(mapped.bias_out, mapped.synaptic_bias_out[:, None], dash_syn).numpy(),
        dash_syn=dash_syn.numpy(),
        dash_mem=dashes_of(mapped.decay_mem_out, mapped.chip).numpy(),
        drive=drive_of(_late(teacher, sent)[:, :, mapped.shape[1] - driving :]),
        target=_by_neuron(teacher.outputs),
        copies=np.zeros((0, 0, 0), np.int16),
        cap=mapped.chip.output_event_cap,
        chip=mapped.chip,
    )


def _late(teacher: Teacher, sent: np.ndarray | None) -> np.ndarray:
    """Return the hidden events as they are delivered: one step after they were sent."""
    events = teacher.delivered if sent is None else sent
    late = np.zeros_like(events)
    late[:, 1:] = events[:, :-1]
    return late


def _by_neuron(events: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(events.transpose(2, 0, 1))
