import math
from dataclasses import replace

import pytest

from snnkit.experiments.experiment import Context
from snnkit.experiments.findings import Findings
from snnkit.experiments.measurements import (
    angles,
    flatness,
    gradient_change,
    histograms,
    learning_rate,
)
from snnkit.experiments.registry import get_experiment
from snnkit.report.style import drawing
from snnkit.utilities.errors import ConfigurationError

CASES = {
    "micro-teleportation": (
        angles,
        angles.Settings(models=("MLP",), data=("digits",), batch_sizes=(8,), draws=6),
    ),
    "interpolation-flatness": (
        flatness,
        flatness.Settings(steps=150, learning_rates=(0.05, 0.2), points=7, elements=2),
    ),
    "gradient-change": (
        gradient_change,
        gradient_change.Settings(
            models=("MLP", "ResNet18"), ranges=(0.1, 0.9), draws=3, law_draws=40, law_ranges=(0.5,)
        ),
    ),
    "weight-histograms": (histograms, histograms.Settings(models=("MLP",), draws=40, layers=3)),
    "learning-rate": (learning_rate, learning_rate.Settings(rates=(0.02, 0.1, 0.5), steps=15, elements=2)),
}


def found_by(name, tmp_path, **changes):
    module, settings = CASES[name]
    return module.run(replace(settings, **changes), Context(seed=0, folder=tmp_path))


@pytest.mark.parametrize("name", CASES)
def test_a_small_run_agrees_with_theory_and_is_drawn_from_its_file(name, tmp_path):
    found = found_by(name, tmp_path)
    assert [check.name for check in found.checks if not check.passed] == []
    assert "{" not in found.reading
    read = Findings.from_json(found.to_json())
    experiment = get_experiment(name)
    with drawing():
        figures = experiment.draw(read)
        for figure in figures.values():
            figure.savefig(tmp_path / "figure.svg")
    assert figures
    assert experiment.full != experiment.quick


def test_random_draws_follow_the_seed(tmp_path):
    one, two = (found_by("gradient-change", tmp_path) for _ in range(2))
    assert one.to_json() == two.to_json()
    module, settings = CASES["gradient-change"]
    other = module.run(settings, Context(seed=1, folder=tmp_path))
    assert other.to_json() != one.to_json()


def test_the_path_between_differently_teleported_nets_is_higher_and_its_ends_are_not(tmp_path):
    found = found_by("interpolation-flatness", tmp_path)
    profiles = found.data["profiles"]
    before = profiles["before"][0]["loss"]
    for profile in profiles["apart"]:
        assert profile["loss"][0] == pytest.approx(before[0], rel=1e-9)
        assert profile["loss"][-1] == pytest.approx(before[-1], rel=1e-9)
    assert max(max(p["loss"][1:-1]) for p in profiles["apart"]) > max(before[1:-1])


def test_networks_with_running_statistics_have_no_path(tmp_path):
    with pytest.raises(ConfigurationError, match="ResNet18"):
        found_by("interpolation-flatness", tmp_path, model="ResNet18")


def test_the_tuned_learning_rate_is_chosen_on_validation_images(tmp_path):
    found = found_by("learning-rate", tmp_path)
    for arm, best in found.data["best"].items():
        results = [r for r in found.data["results"] if r["arm"] == arm]
        rates = sorted({r["rate"] for r in results})
        means = {
            rate: math.fsum(r["validation_loss"] for r in results if r["rate"] == rate)
            / sum(r["rate"] == rate for r in results)
            for rate in rates
        }
        assert best["rate"] == min(means, key=means.__getitem__)


def test_gradients_are_measured_where_the_network_was_moved_to(tmp_path, monkeypatch):
    """An element that does not keep the function breaks the law; a check that puts the law in would pass."""
    real = gradient_change.moved_parameters

    def half_moved(parameters, element):
        moved = real(parameters, element)
        return {name: moved[name] if name.endswith("0.weight") else parameters[name] for name in parameters}

    monkeypatch.setattr(gradient_change, "moved_parameters", half_moved)
    found = found_by("gradient-change", tmp_path, models=("MLP",))
    assert not found.passed
