"""Which weights a population needs, given that aliases copy other populations' events onto it.

With an alias ``A -> B``, whatever leaves neuron ``B`` on the chip carries the events of ``A`` as well. That
is what a residual block wants behind its addition, and not what ``B``'s own recurrent weights want. A
layer that reads the sum of populations ``V`` therefore gets weights from the populations ``w`` that solve

    sum_p w_p * content(p) = V

where ``content(p)`` counts whose events arrive from ``p``. For the layer behind a residual block that is the
block's last population alone; for recurrent weights inside the block it is ``B - A``: weights from ``A`` that
cancel the copies, step by step, exactly.
"""

from .values import INPUT, Circuit, Counts, Projection

__all__ = ["contents", "delays", "sources_of"]


def contents(circuit: Circuit) -> list[dict[int, int]]:
    """Return for each population how many times each population's own events leave it."""
    carried = [{node.index: 1} for node in circuit.nodes]
    for skip in sorted(set(circuit.skips), key=lambda skip: skip.target):
        for population, times in carried[skip.source].items():
            carried[skip.target][population] = carried[skip.target].get(population, 0) + times
    return carried


def sources_of(counts: Counts, carried: list[dict[int, int]]) -> Counts:
    """Return pairs (population, factor): weights from these carry exactly the events of ``counts``."""
    wanted = dict(counts)
    factors: dict[int, int] = {}
    while wanted:
        # A population carries only earlier ones besides itself, so the latest can come from itself alone.
        latest = max(wanted)
        times = wanted[latest]
        copied = {INPUT: 1} if latest == INPUT else carried[latest]
        for population, copies in copied.items():
            wanted[population] = wanted.get(population, 0) - times * copies
        factors[latest] = times
        wanted = {population: left for population, left in wanted.items() if left}
    return tuple(sorted(factors.items()))


def delays(circuit: Circuit) -> tuple[list[int], list[str]]:
    """Return each population's delay against the network in torch, and where paths of unequal length meet.

    In torch an event passes all layers in the step in which it arises, unless its neurons have a hop delay;
    on the chip each hop from one population to the next takes one step. The first populations have delay 0.
    """
    delay = [0] * len(circuit.nodes)
    hop = [0 if node.hop_delay else 1 for node in circuit.nodes]
    forward = [projection for projection in circuit.projections if not projection.recurrent]
    for projection in sorted(forward, key=lambda projection: projection.target):
        for population, _ in projection.counts:
            if population != INPUT:
                delay[projection.target] = max(delay[projection.target], delay[population] + hop[population])
    notes = [note for projection in forward for note in _early_arrivals(projection, circuit, delay)]
    notes += _early_outputs(circuit, delay)
    return delay, list(dict.fromkeys(notes))


def _early_outputs(circuit: Circuit, delay: list[int]) -> list[str]:
    latest = max((delay[index] for index in circuit.outputs), default=0)
    return [
        f"{circuit.nodes[index].path}: its outputs come {latest - delay[index]} steps before the latest."
        for index in circuit.outputs
        if delay[index] < latest
    ]


def _early_arrivals(projection: Projection, circuit: Circuit, delay: list[int]) -> list[str]:
    target = circuit.nodes[projection.target]
    notes = []
    for population, _ in projection.counts:
        if population == INPUT:
            source, early = "the network's input", delay[target.index]
        else:
            source = circuit.nodes[population].path
            hop = 0 if circuit.nodes[population].hop_delay else 1
            early = delay[target.index] - hop - delay[population]
        if early > 0:
            steps = "step" if early == 1 else "steps"
            notes.append(
                f"{target.path}: events of {source} arrive {early} {steps} earlier on the chip than those "
                "on the longest path (each hop takes a step)."
            )
    return notes
