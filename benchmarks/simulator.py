"""XyloSim against xylosim: the same programs and rasters, through the public calls, in one process.

    python benchmarks/simulator.py [--json FILE] [--threads N] [--repeats N]

Rasters go in as numpy arrays, output events come out as numpy arrays. XyloSim runs the whole batch.
xylosim takes one raster at a time and is slow, so it runs XYLOSIM_STEPS steps of one raster, in its steady
state, and its time is scaled to the number of steps and samples: its cost for a step does not depend on
how many steps there are. Both times are medians of interleaved repeats on the wall clock. On a machine
that is busy with other work, a program of two threads loses more than one of a single thread: there, read
the last column, the ratio of processor time.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Specification

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulator"))
from xylosim_oracle import XylosimOracle

WARM_UP_STEPS = 40
XYLOSIM_STEPS = 60


@dataclass(frozen=True)
class Case:
    name: str
    batch: int
    steps: int
    fan_out: int
    activity: float
    record: bool = False
    synapses: int = 1
    goal: float | None = None


CASES = (
    Case("batch of 64, fan-out 32, 5 %", 64, 1000, 32, 0.05, goal=100),
    Case("one raster, fan-out 32, 5 %", 1, 1000, 32, 0.05, goal=20),
    Case("batch of 64, all recorded", 64, 200, 32, 0.05, record=True),
    Case("one raster, all recorded", 1, 1000, 32, 0.05, record=True),
    Case("batch of 64, fan-out 32, 1 %", 64, 1000, 32, 0.01),
    Case("one raster, fan-out 32, 1 %", 1, 1000, 32, 0.01),
    Case("batch of 64, 2 synapses, fan-out 64", 64, 500, 64, 0.05, synapses=2),
    Case("one raster, 2 synapses, fan-out 64", 1, 500, 64, 0.05, synapses=2),
    Case("batch of 64, all to all", 64, 100, 1000, 0.05),
    Case("one raster, all to all", 1, 200, 1000, 0.05),
)


def make_program(case: Case, rng: np.random.Generator, n_hidden: int = 1000) -> Specification:
    """16 inputs to all hidden neurons, ``fan_out`` recurrent weights each, 8 outputs; threshold to be set."""
    recurrent = np.zeros((n_hidden, n_hidden, case.synapses), np.int8)
    for row in recurrent:
        flat = rng.choice(row.size, min(case.fan_out, row.size), replace=False)
        row.reshape(-1)[flat] = rng.integers(-40, 41, len(flat))
    return Specification.create(
        chip="a2",
        weights_in=rng.integers(-30, 61, (16, n_hidden, case.synapses)),
        weights_rec=recurrent,
        weights_out=rng.integers(-60, 61, (n_hidden, 8)),
        dash_mem=4,
        dash_syn=3,
        dash_syn_2=2,
        dash_mem_out=4,
        dash_syn_out=3,
        threshold=1000,
        threshold_out=2000,
    )


def with_activity(spec: Specification, activity: float, raster: np.ndarray) -> tuple[Specification, float]:
    """Set the threshold for ``activity`` events for each hidden neuron and step, by bisection."""
    low, high = 1, 2**15 - 1
    while high - low > 1:
        middle = (low + high) // 2
        spec = replace(spec, threshold=np.full(spec.n_hidden, middle))
        reached = measured_activity(spec, raster)
        low, high = (middle, high) if reached > activity else (low, middle)
    return spec, measured_activity(spec, raster)


def measured_activity(spec: Specification, raster: np.ndarray) -> float:
    sim = XyloSim(spec)
    sim(raster)
    return float(sim.counters.spikes.sum() / sim.counters.time_steps / spec.n_hidden)


def seconds(function) -> tuple[float, float]:
    """Wall and processor time of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(case: Case, repeats: int) -> dict:
    rng = np.random.default_rng(0)
    rasters = (rng.random((case.batch, case.steps, 16)) < 0.05).astype(np.int64)
    spec, activity = with_activity(make_program(case, rng), case.activity, rasters[:1, :200])
    oracle, sim = XylosimOracle(spec), XyloSim(spec)
    window = rasters[0, : WARM_UP_STEPS + XYLOSIM_STEPS]
    head, body = window[:WARM_UP_STEPS], window[WARM_UP_STEPS:]
    ours, theirs = [], []
    for _ in range(repeats):
        oracle.layer.reset_all()
        oracle.layer.evolve(head.tolist())
        theirs.append(seconds(lambda: np.array(oracle.layer.evolve(body.tolist()))))
        ours.append(seconds(lambda: sim.reset_state()(rasters, case.record)))
    sample_steps = case.batch * case.steps
    xylosim_us, xylosim_cpu_us = np.median(theirs, axis=0) / len(body) * 1e6
    xylosim_activity = float(np.mean(oracle.layer.rec_recurrent_spikes))
    our_us, our_cpu_us = np.median(ours, axis=0) / sample_steps * 1e6
    return asdict(case) | {
        "hidden_activity": activity,
        "hidden_activity_of_xylosim": xylosim_activity,
        "xylosim_us_per_step": float(xylosim_us),
        "xylosim_seconds_scaled": float(xylosim_us * sample_steps / 1e6),
        "snnkit_us_per_step": float(our_us),
        "snnkit_seconds": float(our_us * sample_steps / 1e6),
        "ratio": float(xylosim_us / our_us),
        "processor_time_ratio": float(xylosim_cpu_us / our_cpu_us),
        "outputs_equal": outputs_equal(spec, window),
    }


def outputs_equal(spec: Specification, raster: np.ndarray) -> bool:
    """Both simulators, from rest, must agree on what is timed."""
    expected = XylosimOracle(spec).run(raster)
    output, _, record = XyloSim(spec)(raster, record=True)
    return bool(
        np.array_equal(output, expected["Spikes_out"]) and np.array_equal(record["Vmem"], expected["Vmem"])
    )


def first_call_seconds() -> float:
    """Import, load (or compile) the kernels, and run one step of one sample and of a batch."""
    spec = Specification.create(chip="a2", weights_in=[[1]], weights_out=[[1]])
    return seconds(lambda: [XyloSim(spec)(np.zeros((n, 1, 1), np.uint8)) for n in (1, 64)])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first so many")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    first_call = first_call_seconds()
    print(f"{arguments.threads} threads; first call {first_call:.2f} s (compiles where no cache is warm)")
    print(
        f"{'case':38s} {'activity':>8s} {'xylosim':>10s} {'XyloSim':>10s} {'ratio':>7s}  goal  processor time"
    )
    results = []
    for case in CASES[: arguments.cases]:
        result = compare(case, arguments.repeats)
        results.append(result)
        goal = f"{case.goal:.0f}x" if case.goal else ""
        equal = "" if result["outputs_equal"] else "  OUTPUTS DIFFER"
        print(
            f"{case.name:38s} {result['hidden_activity']:7.1%} {result['xylosim_us_per_step']:7.1f} us "
            f"{result['snnkit_us_per_step']:7.2f} us {result['ratio']:6.0f}x  {goal:4s}"
            f"{result['processor_time_ratio']:8.0f}x{equal}",
            flush=True,
        )
    print("Times are for one step of one sample; xylosim's are scaled from one raster, see above.")
    if arguments.json:
        report = {"threads": arguments.threads, "first_call_seconds": first_call, "cases": results}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
