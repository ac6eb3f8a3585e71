"""The compiled judge, the readable one and the simulator give the same events."""

import numpy as np
import pytest
import torch
from orbit.orbit_nets import audio_net, events, residual_net

from snnkit.hw.xylo import lower, quantise
from snnkit.hw.xylo.orbit.drive import Drive, drive_of, restricted
from snnkit.hw.xylo.orbit.neurons import Candidates, Neuron, hidden_layer, judge, output_layer
from snnkit.hw.xylo.orbit.program import forced_mismatch, free_run
from snnkit.hw.xylo.orbit.reference import reference_events, reference_mismatch
from snnkit.hw.xylo.orbit.teacher import observe
from snnkit.transforms import ScalePlan
from snnkit.utilities.chips import get_chip


def random_neuron(rng: np.random.Generator, chip: str, synapses: int, copied: bool) -> Neuron:
    samples, steps, sources = 3, 12, 6
    cap = 31 if copied or rng.random() < 0.7 else 1
    arriving = rng.integers(0, 32, (samples, steps, sources)) * (rng.random((samples, steps, sources)) < 0.4)
    return Neuron(
        weights=rng.normal(size=(sources, synapses)),
        bank=rng.integers(0, 2, sources),
        threshold=1.0,
        bias=0.0,
        dash_syn=rng.integers(1, 6, synapses).astype(np.int16),
        dash_mem=int(rng.integers(1, 6)),
        drive=drive_of(arriving),
        target=rng.integers(0, 4, (samples, steps)).astype(np.int16),
        copies=rng.integers(0, 20, (samples, steps)).astype(np.int16)
        if copied
        else np.zeros((0, 0), np.int16),
        cap=cap,
        chip=get_chip(chip),
    )


@pytest.mark.parametrize("chip", ["a1", "a2"])
@pytest.mark.parametrize("synapses", [1, 2])
@pytest.mark.parametrize("copied", [False, True])
def test_the_fast_judge_equals_the_readable_one(chip, synapses, copied):
    """With weights shifted so far that states saturate in both directions, and 16 bits overflow."""
    rng = np.random.default_rng(3 * synapses + copied)
    for shifts in ((0, 0), (2, 5), (7, 7)):
        neuron = random_neuron(rng, chip, synapses, copied)
        count = 40
        tried = Candidates(
            weights=rng.integers(-128, 128, (count, 6, synapses)),
            threshold=rng.integers(1, 6000, count),
            bias=rng.integers(-127, 128, count) * neuron.chip.has_bias,
        )
        found = judge(neuron, shifts, tried)
        copies = neuron.copies if copied else np.zeros_like(neuron.target)
        factor = (1 << np.array(shifts))[neuron.bank][:, None]
        expected = [
            reference_mismatch(
                reference_events(
                    neuron.drive,
                    (tried.weights[k] * factor).astype(np.int16),
                    (neuron.dash_syn.tolist(), neuron.dash_mem),
                    int(tried.bias[k]),
                    int(tried.threshold[k]),
                    copies,
                    cap=neuron.cap,
                    version=neuron.chip.core_version,
                ),
                neuron.target,
            )
            for k in range(count)
        ]
        assert found.tolist() == expected
        assert len(set(expected)) > 5


def test_differences_beyond_16_bits_are_summed():
    """31 events too many in each of 3,000 steps."""
    chip = get_chip("a2")
    steps = 3000
    neuron = Neuron(
        np.ones((1, 1)), np.zeros(1, int), 1.0, 0.0, np.array([1], np.int16), 1,
        drive_of(np.full((1, steps, 1), 31)), np.zeros((1, steps), np.int16), np.zeros((0, 0), np.int16),
        31, chip,
    )  # fmt: skip
    found = judge(neuron, (7,), Candidates(np.full((1, 1, 1), 127), np.array([1]), np.array([0])))
    assert found.tolist() == [31 * steps]


def test_events_of_some_sources_keep_their_steps():
    rng = np.random.default_rng(0)
    arriving = rng.integers(0, 3, (2, 7, 5))
    wanted = np.array([True, False, True, True, False])
    for found, expected in zip(
        restricted(drive_of(arriving), wanted), drive_of(arriving[:, :, wanted]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    whole = drive_of(arriving)
    assert restricted(whole, np.ones(5, bool)) is whole
    assert isinstance(whole, Drive)


@pytest.mark.parametrize("build", [audio_net, lambda: audio_net(two_synapses=True), residual_net])
def test_driven_by_its_own_events_a_program_is_judged_as_the_simulator_runs_it(build):
    """If neurons get the very events of the program, the judge must count what free run shows."""
    net = build()
    mapped = lower(net, "a2")
    teacher = observe(net, mapped, events().numpy().astype(np.int64))
    spec = quantise(
        mapped, ScalePlan(weight_shift_in=1, weight_shift_rec=2, weight_shift_out=0)
    ).specification
    run = free_run(spec, teacher)
    layers = hidden_layer(mapped, teacher, run.hidden), output_layer(mapped, teacher, run.hidden)
    hidden, outputs = forced_mismatch(spec, layers)
    np.testing.assert_array_equal(outputs, np.abs(run.outputs - teacher.outputs).sum(axis=(0, 1)))
    if not any(mapped.aliases):  # else the simulator's events hold copies of other neurons
        np.testing.assert_array_equal(hidden, np.abs(run.hidden - teacher.own).sum(axis=(0, 1)))
    assert outputs.sum() > 0


def test_the_teacher_is_the_network_in_the_chips_time():
    net = residual_net()
    mapped = lower(net, "a2")
    data = events()
    teacher = observe(net, mapped, data.numpy().astype(np.int64))
    with torch.no_grad():
        output = net(data)[0].clamp(max=1).numpy()
    assert mapped.delay == 2
    np.testing.assert_array_equal(teacher.outputs[:, 2:], output)
    assert not teacher.outputs[:, :2].any()
    copied = teacher.own.copy()
    first, block = (p for p in mapped.populations if p.layer == "hidden")
    copied[:, :, block.start : block.stop] += copied[:, :, first.start : first.stop]
    assert mapped.delays[:2] == (0, 1)
    np.testing.assert_array_equal(teacher.delivered, np.minimum(copied, 31))
