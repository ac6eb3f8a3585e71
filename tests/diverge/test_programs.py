"""Two programs, or a program and what a device did with it: the altered parameter is found and named."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnkit.hw import diverge
from snnkit.hw.divergence.result import Alteration
from snnkit.hw.xylo import Population, Specification, XyloSim

POPULATIONS = (
    Population("1_LIFTorch", "hidden", 0, 5),
    Population("3_LIFTorch", "hidden", 5, 9),
    Population("5_LIFTorch", "output", 0, 3),
)
KINDS = ("weights_in", "weights_rec", "weights_out", "dash_mem", "dash_syn", "threshold", "bias", "aliases")


def program(chip: str = "a2", synapses: int = 1, seed: int = 0) -> Specification:
    """A busy program without saturation: 4 inputs, 9 hidden neurons in two populations, 3 outputs."""
    rng = np.random.default_rng(seed)
    return Specification.create(
        chip=chip, weights_in=rng.integers(-30, 90, (4, 9, synapses)),
        weights_rec=rng.integers(-30, 40, (9, 9, synapses)), weights_out=rng.integers(-30, 60, (9, 3)),
        threshold=rng.integers(150, 300, 9), threshold_out=rng.integers(150, 300, 3),
        dash_mem=rng.integers(1, 5, 9), dash_syn=rng.integers(1, 4, 9),
        dash_syn_2=rng.integers(1, 4, 9) if synapses == 2 else None, dash_mem_out=3, dash_syn_out=2,
        bias=rng.integers(-3, 9, 9), aliases=[[7], [], [], [], [], [], [], [], []], populations=POPULATIONS,
    )  # fmt: skip


def raster(samples: int = 3, steps: int = 30) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 4, (samples, steps, 4))


def alter(spec: Specification, name: str, rng: np.random.Generator) -> tuple[Specification, tuple[int, ...]]:
    """Change one entry of a field; return the program and the entry's place."""
    if name == "aliases":
        source = int(rng.integers(9))
        rows = list(spec.aliases)
        rows[source] = (int((source + 1 + rng.integers(8)) % 9),) if rows[source] == () else ()
        return dataclasses.replace(spec, aliases=tuple(rows)), (source,)
    values = getattr(spec, name).copy()
    place = tuple(int(rng.integers(size)) for size in values.shape)
    step = {"dash": 1, "thre": 40, "bias": 7}.get(name[:4], 45)
    values[place] = (
        values[place] + step if values[place] <= 80 or name == "threshold" else values[place] - step
    )
    return dataclasses.replace(spec, **{name: values}), place


def recorded(spec: Specification, counts: np.ndarray, *names: str) -> dict[str, np.ndarray]:
    output, _, record = XyloSim(spec)(counts, record=True)
    record = {name: values for name, values in record.items() if name != "Hibernation"} | {
        "Spikes_out": output
    }
    return {name: record[name] for name in names} if names else record


def named(found: Alteration) -> tuple[str, str, int | None]:
    return found.parameter, found.layer, found.neuron


def place_of(name: str, place: tuple[int, ...]) -> tuple[str, str, int | None]:
    """Return how an alteration at a place must be named."""
    neuron = place[1] if name.startswith("weights") else place[0]
    layer = "output" if name.endswith("_out") else "hidden"
    population = next(p for p in POPULATIONS if p.layer == layer and p.start <= neuron < p.stop)
    return name, population.path, neuron - population.start


@pytest.mark.parametrize("name", KINDS)
def test_one_altered_parameter_of_two_programs(name: str) -> None:
    spec, counts = program(), raster()
    other, place = alter(spec, name, np.random.default_rng(1))
    found = diverge(spec, other, counts).divergence
    assert found is not None
    assert found.cause == "altered parameter"
    assert named(found.candidates[0]) == place_of(name, place)
    if name != "aliases":
        values = getattr(spec, name)[place], getattr(other, name)[place]
        assert (found.candidates[0].a_value, found.candidates[0].b_value) == values
    assert len(found.candidates) == 1
    assert name in found.reason


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(KINDS), seed=st.integers(0, 10**6), two=st.booleans(), device_first=st.booleans()
)  # fmt: skip
def test_an_altered_parameter_behind_a_device_is_found(
    name: str, seed: int, two: bool, device_first: bool
) -> None:
    spec, counts = program(synapses=1 + two, seed=seed % 7), raster()
    other, place = alter(spec, name, np.random.default_rng(seed))
    record = recorded(other, counts)
    sides = (record, spec) if device_first else (spec, record)
    found = diverge(*sides, counts).divergence
    if found is None:
        assert all(np.array_equal(values, record[key]) for key, values in recorded(spec, counts).items())
        return
    assert found.cause == "altered parameter"
    best = [c for c in found.candidates if c.explained == found.candidates[0].explained]
    assert best[0].explained == 1.0
    match = [c for c in best if named(c) == place_of(name, place)]
    assert match
    if name != "aliases":
        right = int(getattr(other, name)[place])
        reach = [c.b_range or (c.b_value, c.b_value) for c in match if not device_first]
        assert device_first or any(low <= right <= high for low, high in reach)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("threshold", ("Spikes", "Spikes_out")),
        ("weights_in", ("Spikes",)),
        ("threshold", ("Spikes_out",)),
        ("dash_mem", ("Vmem_out", "Spikes_out")),
    ],
)
def test_less_is_observed(name: str, names: tuple[str, ...]) -> None:
    spec, counts = program(), raster(8, 30)
    other, place = alter(spec, name, np.random.default_rng(8))
    found = diverge(spec, recorded(other, counts, *names), counts)
    assert found.divergence is not None
    assert found.divergence.cause == "altered parameter"
    assert found.divergence.candidates[0].explained == 1.0
    assert place_of(name, place) in [named(c) for c in found.divergence.candidates]


def test_an_altered_weight_shift() -> None:
    spec, counts = program(), raster()
    other = dataclasses.replace(spec, weight_shift_in=1)
    direct = diverge(spec, other, counts).divergence
    behind = diverge(spec, recorded(other, counts), counts).divergence
    for found in (direct, behind):
        assert found is not None
        assert (found.candidates[0].parameter, found.candidates[0].a_value, found.candidates[0].b_value) == (
            "weight_shift_in", 0, 1,
        )  # fmt: skip


def two_changes(spec: Specification) -> Specification:
    """Return a program with another bias, which shows at once, and another threshold, which shows later."""
    threshold, bias = spec.threshold_out.copy(), spec.bias.copy()
    threshold[2] -= 60
    bias[8] += 5
    return dataclasses.replace(spec, threshold_out=threshold, bias=bias)


def test_several_alterations_name_the_one_that_shows_first() -> None:
    spec, counts = program(), raster()
    found = diverge(spec, two_changes(spec), counts).divergence
    assert found is not None
    assert named(found.candidates[0]) == place_of("bias", (8,))
    assert named(found.candidates[1]) == place_of("threshold_out", (2,))
    assert "1 more" in found.reason


def test_two_faults_are_no_single_one() -> None:
    spec, counts = program(), raster()
    found = diverge(spec, recorded(two_changes(spec), counts), counts).divergence
    assert found is not None
    assert all(candidate.explained == 0 for candidate in found.candidates)
    assert found.cause == "not attributed"
    assert "begins as if bias of " in found.reason
    assert named(found.candidates[0]) == place_of("bias", (8,))


def test_a_device_that_answers_late() -> None:
    spec, counts = program(), raster()
    record = recorded(spec, counts)
    late = {name: np.pad(values, ((0, 0), (1, 0), (0, 0)))[:, :-1] for name, values in record.items()}
    found = diverge(spec, late, counts).divergence
    assert found is not None
    assert found.cause == "delay"
    assert "1 step late" in found.reason


def test_a_device_that_keeps_its_states() -> None:
    spec, counts = program(), raster()
    sim = XyloSim(spec)
    parts = [sim(sample, record=True) for sample in counts]
    record = {"Vmem": np.stack([p[2]["Vmem"] for p in parts]), "Spikes_out": np.stack([p[0] for p in parts])}
    found = diverge(spec, record, counts).divergence
    assert found is not None
    assert found.cause == "kept state"


def test_what_no_parameter_explains() -> None:
    spec, counts = program(), raster()
    record = recorded(spec, counts)
    record["Vmem"] = record["Vmem"].copy()
    record["Vmem"][1, 0, 4] += 1
    record["Vmem"][1, 0, 6] += 1
    found = diverge(spec, record, counts).divergence
    assert found is not None
    assert (found.cause, found.candidates) == ("not attributed", ())
    assert (found.sample, found.time, found.layer, found.neuron, found.quantity) == (
        1,
        0,
        "1_LIFTorch",
        4,
        "Vmem",
    )


class Device:
    """A session that answers with another program, or with noise."""

    def __init__(self, altered: Specification, noisy: bool = False) -> None:
        self.altered, self.noise = altered, np.random.default_rng(0) if noisy else None
        self.configured: list[Specification] = []

    def configure(self, specification: Specification) -> None:
        self.configured.append(specification)

    def run(self, counts: Any, record: bool = False) -> tuple[Any, Any, dict[str, np.ndarray]]:
        output, state, states = XyloSim(self.altered)(counts, record=record)
        if self.noise is not None:
            states["Vmem"] = states["Vmem"] + self.noise.integers(0, 2, states["Vmem"].shape, np.int16)
        return output, state, states


def test_a_session() -> None:
    spec, counts = program(), raster()
    other, place = alter(spec, "threshold", np.random.default_rng(1))
    device = Device(other)
    found = diverge(spec, device, counts)
    assert device.configured == [spec]
    assert found.divergence is not None
    assert named(found.divergence.candidates[0]) == place_of("threshold", place)
    assert (found.a, found.b) == ("program", "session")
    assert diverge(spec, Device(spec), counts).equal


def test_a_session_that_does_not_repeat_itself() -> None:
    spec = program()
    found = diverge(spec, Device(spec, noisy=True), raster()).divergence
    assert found is not None
    assert found.cause == "noise"


def test_a_record_of_something_else_is_not_explained_by_a_parameter() -> None:
    spec, counts = program(), raster()
    answer = XyloSim(spec)(counts)[0]
    found = diverge(spec, {"Spikes_out": 1 - answer}, counts).divergence
    assert found is not None
    assert found.cause == "not attributed"
    assert all(candidate.explained == 0 for candidate in found.candidates)
