"""What calibration takes as data, and that its answer can be repeated."""

import numpy as np
import pytest
import torch

from snnkit.hw.xylo import deploy
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.transforms import for_chip, observe_state_peaks, plan_of


def network(**neurons: object) -> Sequential:
    torch.manual_seed(0)
    return Sequential(LinearTorch((3, 5)), LIFTorch(5, **neurons), LinearTorch((5, 2)), LIFTorch(2))


EVENTS = np.random.default_rng(1).integers(0, 3, (4, 30, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, torch.tensor])
def test_any_type_of_counts_serves_a_network_of_any_precision(dtype, kind):
    net = network().to(dtype)
    batch = kind(EVENTS)
    plan = plan_of(for_chip(net, "imu", calibration=batch))
    expected = plan_of(for_chip(network(), "imu", calibration=torch.tensor(EVENTS).float()))
    for path, peak in plan.peaks.items():
        assert peak.numpy() == pytest.approx(expected.peaks[path].numpy(), rel=1e-3)
    assert deploy(net, "imu", batch).report.agreement is not None


@pytest.mark.parametrize("noise", [0.5, torch.full((5,), 0.5)])
def test_noise_of_the_membrane_does_not_count_as_a_state(noise):
    """The chip has none, and peaks drawn at random would make every deployment another one."""
    noisy = observe_state_peaks(network(noise_std=noise), EVENTS)
    quiet = observe_state_peaks(network(), EVENTS)
    assert all(torch.equal(noisy[path], quiet[path]) for path in quiet)
    first, second = (deploy(network(noise_std=noise), "imu", EVENTS).specification for _ in range(2))
    assert first == second
