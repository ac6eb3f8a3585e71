"""Networks that run in the chip's time: a step from one layer of neurons to the next."""

import numpy as np
import pytest
import torch

from snnkit.dag import DagModule
from snnkit.hw.xylo import check, deploy
from snnkit.hw.xylo.validation.causes import float_core
from snnkit.hw.xylo.validation.validate import validate
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.hop_delays import count_hops, with_hop_delays
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule, UnitDropout, aLIFTorch
from snnkit.nn.networks import SynNet, WaveSenseNet
from snnkit.transforms import for_chip
from snnkit.utilities.errors import ConfigurationError

LIF = {"max_spikes_per_dt": 31, "leak_mode": "bitshifts", "dash_mem": 2.0, "dash_syn": 2.0}
OUT = LIF | {"max_spikes_per_dt": 1}


def chain() -> TorchModule:
    return Sequential(
        LinearTorch((4, 8)), LIFTorch(8, has_rec=True, **LIF), UnitDropout(8), LinearTorch((8, 6)),
        aLIFTorch(6, max_spikes_per_dt=31), LinearTorch((6, 3)), LIFTorch(3, **OUT),
    ).eval()  # fmt: skip


def residual() -> TorchModule:
    return Sequential(
        LinearTorch((4, 8)), LIFTorch(8, **LIF),
        Residual(
            LinearTorch((8, 8)), LIFTorch(8, has_rec=True, **LIF), LinearTorch((8, 8)), LIFTorch(8, **LIF)
        ),
        LinearTorch((8, 3)), LIFTorch(3, **OUT),
    ).eval()  # fmt: skip


def events(steps: int = 40, batch: int = 3, channels: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 4, (batch, steps, channels), generator=generator).float()


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(3)


def late(data: torch.Tensor, steps: int) -> torch.Tensor:
    return torch.nn.functional.pad(data, (0, 0, 0, steps))


@pytest.mark.parametrize(
    ("make", "hops"),
    [(chain, 2), (lambda: SynNet(3, 4, (9, 8, 7), (2, 2, 2), tau_syn_base=4e-3, threshold=0.1), 3)],
    ids=["chain", "SynNet"],
)
def test_a_chain_answers_the_same_as_late_as_the_chip(make, hops):
    net = make().eval()
    delayed = with_hop_delays(net)
    data = events()
    output = net(data)[0]
    assert output.any()
    assert torch.equal(delayed(late(data, hops))[0][:, hops:], output)
    assert count_hops(net) == count_hops(delayed) == hops
    assert check(net, "a3").delay == hops
    assert check(delayed, "a3").delay == 0


def test_the_net_that_was_given_stays_as_it_was():
    net = chain()
    with_hop_delays(net)
    assert not any(module.hop_delay for _, module in net.named_modules() if hasattr(module, "hop_delay"))


def test_all_neurons_but_the_outputs_are_delayed():
    net = with_hop_delays(residual())
    delayed = {path: m.hop_delay for path, m in net.named_modules() if isinstance(m, LIFTorch)}
    assert list(delayed.values()) == [True, True, True, False]
    assert with_hop_delays(WaveSenseNet([1, 2], n_channels_in=4)).spk1.hop_delay


def test_events_of_paths_of_unequal_length_meet_as_on_the_chip():
    """The chip's core in real numbers, which knows nothing of torch, gives the same events everywhere."""
    net = with_hop_delays(residual()).double()
    for layer in (net[0], net[2][0], net[2][2]):
        layer.weight.data.mul_(0.3)  # With copies no more than 31 events a step, which the core cuts at once.
    deployment = deploy(net, "a3", calibration=events())
    assert deployment.delay == 0
    assert deployment.mapped.delays == (0, 0, 0, 0)
    assert not any("arrive" in note for note in deployment.report.notes)
    real_chip = float_core(deployment.mapped)
    data = events()[0].double()
    record = net(data[None], record=True)[2]
    hidden, output = real_chip.run(data.numpy())
    np.testing.assert_array_equal(record["4_LIFTorch"]["spikes"][0].detach(), output)
    populations = {p.path: slice(p.start, p.stop) for p in deployment.mapped.populations}
    first = record["1_LIFTorch"]["spikes"][0].detach().numpy()
    np.testing.assert_array_equal(hidden[:, populations["1_LIFTorch"]], first)
    last = record["2_TorchResidual"]["3_LIFTorch"]["spikes"][0].detach().numpy()
    np.testing.assert_array_equal(hidden[:, populations["2_TorchResidual.3_LIFTorch"]], last + first)


def test_the_undelayed_net_differs_there():
    net = residual()
    data = late(events(), 3)
    assert not torch.equal(with_hop_delays(net)(data)[0][:, 3:], net(data)[0][:, :-3])
    assert any("arrive" in note for note in check(net, "a3").notes)


def test_a_delayed_net_is_validated_in_its_own_time():
    net = for_chip(with_hop_delays(chain()), "a3", calibration=events())
    deployment = deploy(net, "a3", calibration=events())
    found = validate(net, deployment, events())
    assert all(p.same_events > 0.8 for p in found.populations)
    output = net(events())[0]
    assert found.populations[-1].a_events == int(output.sum())


def test_state_carries_the_delayed_events_over_a_cut_and_gradients_pass():
    net = with_hop_delays(chain())
    data = events()
    whole = net(data)[0]
    net.reset_state()
    parts = torch.cat([net(data[:, :17])[0], net(data[:, 17:])[0]], dim=1)
    assert torch.equal(whole, parts)
    net.reset_state()
    net(data)[0].sum().backward()
    assert net[0].weight.grad.any()


def test_step_by_step_the_output_is_that_of_the_step_before():
    neurons = LIFTorch(2, hop_delay=True)
    assert neurons(5 * torch.ones(1, 1, 2))[0].tolist() == [[[0.0, 0.0]]]
    assert neurons(torch.ones(1, 1, 2))[0].min() > 0


def test_files_of_modules_keep_hop_delays(tmp_path):
    net = with_hop_delays(chain())
    net.save(tmp_path / "net.json")
    assert chain().load(tmp_path / "net.json")[1].hop_delay
    chain().save(tmp_path / "plain.json")
    assert not chain().load(tmp_path / "plain.json")[1].hop_delay


def test_a_delay_of_outputs_is_a_violation():
    net = Sequential(
        LinearTorch((4, 8)), LIFTorch(8, **LIF), LinearTorch((8, 3)), LIFTorch(3, **LIF, hop_delay=True)
    )
    (violation,) = check(net, "imu").violations
    assert (violation.rule, violation.where) == ("hop delay of outputs", "3_LIFTorch")


def test_networks_without_their_own_neurons_are_refused():
    with pytest.raises(ConfigurationError, match="has no graph"):
        with_hop_delays(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigurationError, match="before transforms"):
        with_hop_delays(_Borrowing())


class _Borrowing(TorchModule):
    """Makes its neurons anew for each graph."""

    def __init__(self) -> None:
        super().__init__((4, 3))

    def as_graph(self) -> DagModule:
        return chain().as_graph()
