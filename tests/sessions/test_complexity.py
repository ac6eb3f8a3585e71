"""Hardware-independent figures: by hand, on nets and programs, and as the neurobench package counts them."""

import numpy as np
import pytest
import torch
from sessions.session_programs import program, rasters
from torch import nn

from snnkit.hw.complexity import Complexity, complexity
from snnkit.hw.xylo import Specification, XyloSim
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFNeuronTorch, LIFTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError, DataError


def test_a_program_worked_out_by_hand() -> None:
    spec = Specification.create(
        chip="imu", weights_in=[[90, 0]], weights_rec=[[0, 50], [0, 0]], weights_out=[[80], [0]],
        threshold=60, threshold_out=60, dash_mem=1, dash_syn=1,
    )  # fmt: skip
    raster = np.array([[[2], [0], [1]]])
    output, _, record = XyloSim(spec)(raster, record=True)
    events = record["Spikes"][0]
    found = complexity(spec, raster)
    assert found.connection_sparsity == pytest.approx(1 - 3 / 8)
    assert found.dense == 3 * 8
    # Two, then one input event over one weight; hidden events go over one recurrent and one output weight.
    assert found.effective_acs == 3 + 2 * events[:-1, 0].sum()
    assert found.effective_macs == 0
    nonzero = np.count_nonzero(events) + np.count_nonzero(output)
    assert found.activation_sparsity == pytest.approx(1 - nonzero / 9)
    assert found.footprint == 2 + 4 + 2 + 2 * (1 + 1 + 1 + 2 + 2) + (1 + 1 + 2 + 2)
    changed = sum(np.count_nonzero(np.diff(record[n][0].astype(int), axis=0)) for n in ("Vmem", "Vmem_out"))
    assert found.membrane_updates == 3 + changed


def test_a_spiking_network_counts_as_its_layers_do() -> None:
    torch.manual_seed(0)
    net = Sequential(LinearTorch((3, 4)), LIFTorch(4, has_rec=True), LinearTorch((4, 2)), LIFTorch(2))
    data = (torch.rand(5, 20, 3) < 0.4).float()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = complexity(net, data)
    net.reset_state()
    with torch.no_grad():
        output, _, record = net(data, record=True)
    spikes = record["1_LIFTorch"]["spikes"]
    assert found.dense == 20 * (12 + 16 + 8)
    outputs = torch.cat([spikes.flatten(), output.flatten()])
    assert found.activation_sparsity == pytest.approx(float((outputs == 0).float().mean()))
    expected = 4 * float((data != 0).sum()) + 2 * float((spikes != 0).sum())
    expected += 4 * float((spikes[:, :-1] != 0).sum())
    assert (found.effective_acs + found.effective_macs) * 5 == pytest.approx(expected)
    assert all(
        torch.equal(value, before[name]) for name, value in net.state_dict().items() if "weight" in name
    )
    assert "membrane updates" in str(found)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(DataError, match="at least one sample"):
        complexity(program("imu"), rasters()[:0])
    with pytest.raises(ConfigurationError, match="no connections"):
        complexity(nn.Sequential(nn.ReLU()), torch.ones(2, 3))


def neurobench_figures(model: nn.Module, data: torch.Tensor) -> Complexity:
    """Let the neurobench package measure; batches of two, to see that they do not matter."""
    pytest.importorskip("neurobench")
    pytest.importorskip("snntorch")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics import static, workload
    from neurobench.models import SNNTorchModel, TorchModel
    from torch.utils.data import DataLoader, TensorDataset

    wrapped = SNNTorchModel(model) if hasattr(model, "spiking") else TorchModel(model)
    loader = DataLoader(TensorDataset(data, torch.zeros(len(data), dtype=torch.long)), batch_size=2)
    metrics = [
        [static.Footprint, static.ConnectionSparsity],
        [workload.ActivationSparsity, workload.SynapticOperations, workload.MembraneUpdates],
    ]
    found = Benchmark(wrapped, loader, [], [], metrics).run(quiet=True)
    operations = found["SynapticOperations"]
    return Complexity(
        footprint=found["Footprint"],
        connection_sparsity=found["ConnectionSparsity"],
        activation_sparsity=found["ActivationSparsity"],
        effective_macs=operations["Effective_MACs"],
        effective_acs=operations["Effective_ACs"],
        dense=operations["Dense"],
        membrane_updates=found["MembraneUpdates"],
    )


def same(ours: Complexity, theirs: Complexity, *but: str) -> None:
    for name, value in vars(theirs).items():
        if name not in but:
            assert getattr(ours, name) == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("graded", [False, True])
def test_a_plain_network_counts_as_in_neurobench(graded: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False), nn.Sigmoid())
    with torch.no_grad():
        net[0].weight[0, 1] = net[2].weight[1, 3] = 0
    data = torch.randint(0, 4, (6, 7, 3)).float() if graded else (torch.rand(6, 7, 3) < 0.4).float()
    same(complexity(net, data), neurobench_figures(net, data))


def test_a_spiking_network_counts_as_in_neurobench() -> None:
    snntorch = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    beta, steps = 0.5, 9
    # No membrane reaches two thresholds: theirs would then reset otherwise than ours.
    w_in, w_out = 0.22 * (1 + torch.rand(3, 4)), 0.17 * (1 + torch.rand(4, 2))

    class Theirs(nn.Module):
        spiking = True

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
            options = {"beta": beta, "init_hidden": True, "reset_delay": False}
            self.hidden, self.out = snntorch.Leaky(**options), snntorch.Leaky(**options, output=True)
            self.first.weight.data, self.second.weight.data = w_in.T.clone(), w_out.T.clone()

        def forward(self, data: torch.Tensor) -> torch.Tensor:
            return self.out(self.second(self.hidden(self.first(data))))

    lif = {"tau_mem": -1e-3 / np.log(beta), "dt": 1e-3, "max_spikes_per_dt": 1}
    data = (torch.rand(6, steps, 3) < 0.5).float()
    theirs = neurobench_figures(Theirs(), data)
    net = Sequential(
        LinearTorch((3, 4), weight=w_in), LIFNeuronTorch(4, **lif),
        LinearTorch((4, 2), weight=w_out), LIFNeuronTorch(2, **lif),
    )  # fmt: skip
    same(complexity(net, data), theirs, "footprint")
