"""Which program a deployment chooses on its calibration data, and which data it refuses."""

import pytest
import torch

from snnkit.hw.xylo import deploy
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError, DataError


def small_net() -> Sequential:
    torch.manual_seed(0)
    return Sequential(LinearTorch((6, 16)), LIFTorch(16), LinearTorch((16, 3)), LIFTorch(3))


def events() -> torch.Tensor:
    return (torch.rand(12, 40, 6, generator=torch.Generator().manual_seed(7)) < 0.2).float()


@pytest.mark.parametrize(("seed", "has_rec"), [(1, True), (5, False), (21, True)])
def test_a_few_lucky_samples_do_not_make_states_saturate(seed, has_rec):
    """Untrained, far too active networks: among many saturating programs some agree by chance."""
    torch.manual_seed(seed)
    net = Sequential(LinearTorch((4, 10)), LIFTorch(10, has_rec=has_rec), LinearTorch((10, 3)), LIFTorch(3))
    data = (torch.rand(16, 60, 4) < 0.2).float()
    labels = torch.randint(3, (16,))
    assert deploy(net, "a2", data).report.saturations == 0
    assert deploy(net, "a2", data, labels).report.saturations == 0


def test_labels_and_readout_need_calibration_data():
    with pytest.raises(ConfigurationError, match="give calibration too"):
        deploy(small_net(), "imu", labels=torch.zeros(12, dtype=torch.long))


def test_labels_that_are_no_output_neurons_are_refused():
    with pytest.raises(DataError, match=r"12 of 12 labels are no output neuron, 0 to 2 .*9 at sample 0"):
        deploy(small_net(), "imu", events(), torch.full((12,), 9))
