"""Which program a deployment chooses on its calibration data, and which data it refuses."""

import pytest
import torch

from snnkit.dag import DagModule
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


def test_a_graph_with_two_outputs_is_calibrated_on_both():
    torch.manual_seed(0)
    graph = DagModule("two readouts")
    hidden = graph.add_vertex("hidden", LIFTorch(10), [
        graph.add_vertex("in", LinearTorch((6, 10)), [graph.add_input_vertex("input")])
    ])  # fmt: skip
    outputs = [
        graph.add_vertex(
            f"out{size}", LIFTorch(size), [graph.add_vertex(f"w{size}", LinearTorch((10, size)), [hidden])]
        )
        for size in (2, 3)
    ]
    graph.mark_as_output(*outputs)
    deployment = deploy(graph, "a2", events())
    with torch.no_grad():
        net = torch.cat([output.clamp(max=1) for output in graph(events())], dim=-1)
    assert deployment.run(events()).shape == net.shape == (12, 40, 5)
    assert deployment.report.agreement > 0


def test_silent_outputs_do_not_count_as_class_0():
    """All samples are of class 0, which silence reads as; the first output fires, the chip's must too."""
    torch.manual_seed(0)
    net = Sequential(LinearTorch((6, 10)), LIFTorch(10), LinearTorch((10, 2)), LIFTorch(2))
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([1.0, -1.0]) * net[2].weight.abs())
    labels = torch.zeros(12, dtype=torch.long)
    for deployment in (deploy(net, "a2", events()), deploy(net, "a2", events(), labels)):
        assert deployment.run(events()).any()
        assert deployment.report.same_class == 1.0


def test_the_report_tells_where_the_chip_may_fire_more_or_less_than_the_network():
    torch.manual_seed(0)
    vector = torch.tensor([1.0, 1.0, 1.0, 7.0])
    net = Sequential(
        LinearTorch((6, 4)), LIFTorch(4, max_spikes_per_dt=vector),
        LinearTorch((4, 4)), LIFTorch(4, max_spikes_per_dt=31),
        LinearTorch((4, 2)), LIFTorch(2),
    )  # fmt: skip
    notes = deploy(net, "a2", events()).report.notes
    assert "The chip allows fewer events per step than max_spikes_per_dt in 5_LIFTorch (1)." in notes
    (tight,) = [note for note in notes if "no limit as low" in note]
    assert tight.endswith("in 1_LIFTorch (7, the chip 31).")
