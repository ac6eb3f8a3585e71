"""The tour of the transforms shows what it says."""

import runpy
from pathlib import Path

import pytest
import torch

TOUR = Path(__file__).resolve().parents[2] / "examples" / "transforms_tour.py"


@pytest.fixture(scope="module")
def tour():
    return runpy.run_path(str(TOUR))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_weights_end_on_few_levels(tour, capsys):
    net = tour["parameters"]()
    assert len(net[0].weight.unique()) <= 4
    assert "TWrapper '0_LinearTorch' with shape (3, 5) {" in capsys.readouterr().out


def test_outputs_are_bytes(tour):
    output = tour["activity"]()["0_LinearTorch_output"]
    assert torch.equal(output, output.round())
    assert output.min() >= -128
    assert output.max() <= 127


def test_decays_are_bit_shifts(tour):
    alpha, dash, tau = tour["decays"]()
    assert alpha.unique().tolist() == [0.875]
    assert dash.unique().tolist() == [3.0]
    assert tau.unique().item() == pytest.approx(15.49e-3, rel=1e-3)


def test_neurons_have_few_inputs(tour):
    pruned = tour["pruning"]()
    assert (pruned[0].weight != 0).sum(0).tolist() == [2] * 5


def test_chip_weights_are_integers(tour):
    integers = tour["chip"]()
    torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-3)
    assert integers.abs().max() <= 127 + 1e-3
