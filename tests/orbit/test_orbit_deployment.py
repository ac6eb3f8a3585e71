"""Deployments over the orbit: nearer to the network, on every chip, and the same after any teleport."""

import copy

import numpy as np
import pytest
import torch
from orbit.orbit_nets import BRIEF, audio_net, events, residual_net, scaled

from snnkit.hw.xylo import chip_exact, deploy, validate
from snnkit.hw.xylo.deployment.calibration import chance_between
from snnkit.hw.xylo.orbit.settings import OrbitSettings
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.per_neuron import expand_to_neurons
from snnkit.teleport import teleport
from snnkit.transforms import FanInPruning, for_chip, make_param_T_config, make_param_T_network
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, ParameterError

NETS = {
    "recurrent": audio_net,
    "without recurrence": lambda: audio_net(rec=False),
    "without biases": lambda: audio_net(bias=False),
    "two synapses": lambda: audio_net(two_synapses=True),
    "residual": residual_net,
}


def orbit(net, chip="a2", data=None, **options):
    data = events() if data is None else data
    return deploy(net, chip, data, method="orbit", **({"orbit": BRIEF} | options))


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("recurrent", "a2"), ("recurrent", "a3"), ("recurrent", "imu"), ("without biases", "a1"),
        ("without recurrence", "a2"), ("two synapses", "a3"), ("residual", "a2"),
    ],
)  # fmt: skip
def test_no_measure_is_worse_than_at_the_start_and_the_hidden_neurons_come_nearer(name, chip):
    net = NETS[name]()
    deployment = orbit(net, chip)
    found = deployment.report.orbit
    assert found.kept == "searched"
    assert found.after.is_no_worse_than(found.before)
    assert found.after.hidden_forced < 0.8 * found.before.hidden_forced
    assert found.before == orbit_measures(net, chip)
    assert not deployment.specification.violations()
    assert len(validate(net, deployment, events(1)).populations) == len(deployment.mapped.populations)


def orbit_measures(net, chip):
    """What the report says of a search that may change nothing but what the default method chose."""
    from snnkit.hw.xylo.deployment.float_run import Calibration
    from snnkit.hw.xylo.mapping.lowering import inspect_network
    from snnkit.hw.xylo.orbit.bench import Bench
    from snnkit.hw.xylo.orbit.teacher import observe

    start = deploy(net, chip, events())
    inspection = inspect_network(net, chip)
    data = Calibration.of(net, inspection.circuit, get_chip(chip), events())
    bench = Bench(start.mapped, start.plan, data, observe(net, start.mapped, data.raster))
    from snnkit.hw.xylo import quantise

    return bench.measured(quantise(start.mapped, start.plan)).measures


def test_the_default_method_is_what_it_was():
    net = audio_net()
    by_name, as_ever = deploy(net, "a2", events(), method="peaks"), deploy(net, "a2", events())
    assert by_name.specification == as_ever.specification
    assert as_ever.report.orbit is None


@pytest.mark.parametrize("net", [audio_net(), audio_net(two_synapses=True)])
def test_powers_of_two_on_any_neuron_give_the_same_integers(net):
    generator = torch.Generator().manual_seed(5)
    factors = {
        path: 2.0 ** torch.randint(-4, 5, (size,), generator=generator)
        for path, size in (("1_LIFTorch", 10), ("3_LIFTorch", 3))
    }
    assert orbit(scaled(net, factors)).specification == orbit(net).specification


def test_any_factors_give_the_same_integers_in_float64():
    net = audio_net().double()
    generator = torch.Generator().manual_seed(6)
    factors = {
        path: torch.exp(torch.randn(size, generator=generator, dtype=torch.float64))
        for path, size in (("1_LIFTorch", 10), ("3_LIFTorch", 3))
    }
    assert orbit(scaled(net, factors)).specification == orbit(net).specification


def test_a_search_can_be_repeated_with_any_number_of_threads():
    threads = torch.get_num_threads()
    first = orbit(audio_net())
    try:
        torch.set_num_threads(3)
        again = orbit(audio_net())
    finally:
        torch.set_num_threads(threads)
    assert first.specification == again.specification
    assert first.report.orbit.after == again.report.orbit.after


def test_the_program_departs_from_its_scales_by_what_the_report_says():
    """Scales, then offsets and single weights, each less than one integer away from the scaled value."""
    net = audio_net()
    deployment = orbit(net)
    found, spec, mapped = deployment.report.orbit, deployment.specification, deployment.mapped
    scale = deployment.scales["1_LIFTorch"]
    assert sum(count.sum() for count in found.turned.values()) > 0
    exact = mapped.weights_rec * scale[None, :, None] / 2**spec.weight_shift_rec
    inside = np.abs(exact) <= 127
    assert np.abs(spec.weights_rec - exact)[inside].max() < 1
    nearest = np.clip(np.rint(exact), -127, 127)
    exact_in = mapped.weights_in * scale[None, :, None] / 2**spec.weight_shift_in
    turned = (spec.weights_rec != nearest).sum((0, 2))
    turned += (spec.weights_in != np.clip(np.rint(exact_in), -127, 127)).sum((0, 2))
    np.testing.assert_array_equal(found.turned["1_LIFTorch"], turned)
    thresholds = np.rint(mapped.threshold * scale) + found.threshold_offsets["1_LIFTorch"]
    np.testing.assert_array_equal(spec.threshold, thresholds)
    biases = np.clip(np.rint(mapped.bias * scale), -127, 127) + found.bias_offsets["1_LIFTorch"]
    np.testing.assert_array_equal(spec.bias, biases)


@pytest.mark.parametrize("name", ["recurrent", "two synapses", "residual"])
def test_the_scales_are_a_teleport_that_changes_no_event(name):
    """Applied to the float network, it leaves the outputs as they were and the parameters in chip units."""
    net = NETS[name]()
    deployment = orbit(net)
    certificate = deployment.report.orbit.certificate
    assert certificate.differing == 0
    assert certificate.events > 100
    moved = expand_to_neurons(copy.deepcopy(net).double())
    teleport(moved, certificate.element)
    with torch.no_grad():
        before, after = (one(events(4).double())[0] for one in (copy.deepcopy(net).double(), moved))
    assert torch.equal(before, after)
    found, spec = deployment.report.orbit, deployment.specification
    first = deployment.mapped.populations[0]
    expected = torch.round(list(moved)[1].threshold.detach()).numpy() + found.threshold_offsets[first.path]
    np.testing.assert_array_equal(spec.threshold[first.start : first.stop], expected)


def test_neither_one_threshold_for_all_neurons_nor_a_graph_is_an_obstacle():
    torch.manual_seed(1)
    net = Sequential(LinearTorch((5, 8)), LIFTorch(8, has_rec=True), LinearTorch((8, 3)), LIFTorch(3))
    assert orbit(net).report.orbit.certificate.element is not None
    assert orbit(net.as_graph()).report.orbit.certificate.element is not None


def test_a_network_whose_scales_are_not_free_is_deployed_all_the_same():
    """Transforms stand between the parameters and what the network computes with."""
    net = audio_net()
    net = make_param_T_network(net, make_param_T_config(net, FanInPruning(3), "weight"))
    deployment = orbit(net)
    certificate = deployment.report.orbit.certificate
    assert certificate.element is None
    assert certificate.reason
    assert "could not be tried" in str(deployment.report)
    assert np.count_nonzero(deployment.specification.weights_in, axis=(0, 2)).max() == 3
    assert deployment.report.orbit.after.hidden_forced < deployment.report.orbit.before.hidden_forced


def test_without_offsets_and_rounding_only_the_orbit_is_searched():
    found = orbit(audio_net(), orbit=OrbitSettings(offsets=False, rounding=0)).report.orbit
    for departures in (found.threshold_offsets, found.bias_offsets, found.turned):
        assert not any(values.any() for values in departures.values())
    assert found.after.hidden_forced < found.before.hidden_forced


def test_a_plan_keeps_its_weight_shifts():
    net = audio_net()
    plan = deploy(net, "a2", events()).plan
    fixed = orbit(net, plan=plan)
    shifts = (plan.weight_shift_in, plan.weight_shift_rec, plan.weight_shift_out)
    assert fixed.report.weight_shifts == shifts
    assert "weight shifts: those of the plan" in str(fixed.report)


def test_passes_on_the_chips_own_events_never_harm():
    net = audio_net(3)
    once, more = orbit(net).report.orbit, orbit(net, orbit=OrbitSettings(chip_passes=2)).report.orbit
    assert more.after.is_no_worse_than(more.before)
    assert any("pass 2 on the chip's own events" in line for line in more.searched)
    assert not any("pass" in line for line in once.searched)


def test_narrow_weights_stay_narrow():
    chip = get_chip("a3").with_weight_bits(4)
    spec = orbit(audio_net(), chip).specification
    assert max(np.abs(w).max() for w in (spec.weights_in, spec.weights_rec, spec.weights_out)) == 7


def test_outputs_that_never_fire_are_left_as_they_were():
    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((5, 8)), LIFTorch(8), LinearTorch((8, 2)), LIFTorch(2, threshold=torch.full((2,), 1e6))
    )
    plain, searched = deploy(net, "a2", events()), orbit(net)
    for name in ("weights_out", "threshold_out", "bias_out"):
        np.testing.assert_array_equal(
            getattr(plain.specification, name), getattr(searched.specification, name)
        )
    assert "outputs: left as they were" in str(searched.report)


def test_biases_where_none_were_are_told():
    text = str(orbit(audio_net(bias=False)).report)
    assert "offsets give neurons a bias where none had one" in text
    without = orbit(audio_net(bias=False), orbit=OrbitSettings(offsets=False, rounding=1))
    assert not without.specification.bias.any()
    assert "stays awake" not in str(without.report)


def test_neurons_that_nothing_reaches_are_no_obstacle():
    net = audio_net()
    with torch.no_grad():
        weights, population, *_ = net
        weights.weight[:, 2] = 0.0
        population.w_rec[:, 2] = 0.0
    deployment = orbit(net)
    assert not deployment.specification.weights_rec[:, 2].any()
    assert deployment.report.orbit.after.free < deployment.report.orbit.before.free


def test_labels_and_progress_are_used():
    told = []
    labels = torch.arange(12) % 3
    deployment = orbit(audio_net(), labels=labels, on_progress=lambda *news: told.append(news))
    assert deployment.report.chip_accuracy is not None
    assert ("hidden neurons", 10, 10) in told
    assert ("output neurons", 3, 3) in told
    assert all(done <= total for _, done, total in told)
    assert told[0][0] == "weight shifts"


def test_only_some_recordings_are_searched_over_if_there_are_many():
    found = orbit(audio_net(), orbit=OrbitSettings(recordings=5, rounding=1)).report.orbit
    assert found.recordings == 5
    assert found.after.is_no_worse_than(found.before)


def test_silent_recordings_change_nothing_for_the_worse():
    found = orbit(audio_net(bias=False), data=torch.zeros(3, 20, 5)).report.orbit
    assert found.after.hidden_free == found.before.hidden_free == 0


def test_the_rules_to_compare_with_are_global_and_per_neuron():
    net = audio_net(bias=False)
    whole, each = (deploy(net, "a2", events(), method=name) for name in ("global", "max-abs"))
    assert len(set(whole.scales["1_LIFTorch"])) == 1
    assert len(set(each.scales["1_LIFTorch"])) == 10
    assert whole.scales["1_LIFTorch"][0] == each.scales["1_LIFTorch"].min()
    assert each.report.weight_shifts == whole.report.weight_shifts == (0, 0, 0)
    per_neuron = np.maximum(
        np.abs(each.specification.weights_in).max((0, 2)), np.abs(each.specification.weights_rec).max((0, 2))
    )
    assert per_neuron.tolist() == [127] * 10


def test_what_does_not_go_together_is_refused():
    net = audio_net()
    with pytest.raises(ConfigurationError, match=r"'orbits'.*orbit"):
        deploy(net, "a2", events(), method="orbits")
    with pytest.raises(ConfigurationError, match=r'method="orbit" compares .* calibration'):
        deploy(net, "a2", method="orbit")
    with pytest.raises(ConfigurationError, match=r'the method is "peaks": pass method="orbit"'):
        deploy(net, "a2", events(), orbit=BRIEF)
    with pytest.raises(ConfigurationError, match="neither plan nor headroom"):
        deploy(net, "a2", events(), method="max-abs", headroom=2.0)
    with pytest.raises(ConfigurationError, match=r'patched network holds the very values .*method="orbit"'):
        orbit(for_chip(net, "a2", calibration=events()))
    with pytest.raises(
        ConfigurationError, match=r'chip-exact network holds the very values .*method="orbit"'
    ):
        orbit(chip_exact(net, "a2", calibration=events()))
    with pytest.raises(ParameterError, match=r"scales is 2, a whole number of 8 .*; rounding is -1"):
        OrbitSettings(scales=2, rounding=-1)
    with pytest.raises(ParameterError, match="offsets is 'no', True or False is needed"):
        OrbitSettings(offsets="no")
    with pytest.raises(ParameterError, match=r"are OrbitSettings\(\.\.\.\), not dict"):
        deploy(net, "a2", events(), method="orbit", orbit={"scales": 32})


def test_notes_advise_what_the_method_can_do():
    net, coarse = audio_net(rec=False, bias=False), get_chip("a2").with_weight_bits(3)
    list(net)[1].threshold.data *= 30

    def notes(chip, method):
        report = deploy(net, chip, 5 * events(), method=method).report
        return report, " ".join(report.notes)

    assert "weights are off by" in notes(coarse, "peaks")[1]
    for method in ("max-abs", "orbit"):
        report, told = notes(coarse, method)
        assert max(layer.weight_error for layer in report.layers) > 0.1
        assert "weights are off by" not in told
    report, told = notes("a2", "max-abs")
    assert report.saturations
    assert 'method="max-abs" does not look at states' in told
    report, told = notes("a2", "orbit")
    assert report.saturations
    assert "States saturate" not in told


def test_one_class_less_than_all_is_chance_and_half_of_them_is_not():
    data = events(samples=100)
    net = audio_net(2)
    answers = deploy(net, "a2", data).run(data).sum(1).argmax(-1)
    # Classes are those of the start program, which is therefore right in all of them.
    found = orbit(net, data=data, labels=answers).report.orbit
    assert found.before.score == 1
    assert (found.kept, found.after.score < 1) == ("searched", True)
    assert found.before.score - found.after.score <= chance_between(1, found.after.score, 100)
    assert chance_between(1, 0.99, 100) > 0.01
    assert chance_between(1, 0.5, 100) < 0.5
