"""Training with a device in the loop."""

import numpy as np
import pytest
import torch
from sessions.session_programs import rasters

from snnkit.hw import connect
from snnkit.hw.fake_samna import Alteration, FakeSamna, Mismatch
from snnkit.hw.sessions import InTheLoop
from snnkit.hw.xylo import XyloSim, chip_exact
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError


def exact(chip: str = "imu"):
    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((3, 10)), LIFTorch(10, dt=5e-3), LinearTorch((10, 2)), LIFTorch(2, dt=5e-3)
    )  # fmt: skip
    return chip_exact(net, chip, calibration=rasters())


def events() -> torch.Tensor:
    return torch.from_numpy(rasters(samples=4, steps=25)).float()


def gradients(module, output: torch.Tensor) -> list[torch.Tensor]:
    weights = [p for p in torch.nn.Module.parameters(module) if p.requires_grad]
    factors = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    found = torch.autograd.grad((output * factors).sum(), weights, allow_unused=True)
    return [torch.zeros(()) if g is None else g for g in found]


@pytest.mark.parametrize("uri", ["sim:imu", "fake:imu", "fake:a2"])
def test_on_an_exact_device_output_and_gradients_are_the_networks_own(uri: str) -> None:
    network = exact(uri.split(":")[1])
    network.reset_state()
    expected, _, expected_record = network(events(), record=True)
    with connect(uri) as session:
        loop = InTheLoop(network, session)
        output, _, record = loop(events(), record=True)
        assert session.specification == network.specification
    assert torch.equal(output, expected)
    assert record.keys() == expected_record.keys()
    for name, values in record.items():
        assert torch.equal(values, expected_record[name]), name
    for ours, own in zip(gradients(loop, output), gradients(network, expected), strict=True):
        torch.testing.assert_close(ours, own)


def test_forward_values_are_those_of_the_device() -> None:
    network = exact()
    spec = network.specification
    alter = Alteration("threshold", (2,), int(spec.threshold[2]) // 3)
    with connect("samna:", driver=FakeSamna(["imu"], alter=alter)) as session:
        output, _, _ = InTheLoop(network, session)(events())
    truth, _, _ = XyloSim(alter(spec))(events())
    assert torch.equal(output, truth.float())
    assert not torch.equal(output, XyloSim(spec)(events())[0].float())
    assert any(g.any() for g in gradients(network, output))


def test_the_program_on_the_device_follows_the_parameters() -> None:
    network = exact()
    with connect("sim:imu") as session:
        loop = InTheLoop(network, session)
        loop(events())
        before = session.specification
        with torch.no_grad():
            network.net[0].weight.mul_(torch.linspace(0.8, 1.2, 10))
        loop(events())
        assert session.specification == network.specification != before


def test_training_in_the_loop_makes_up_for_mismatch() -> None:
    """Two classes, told apart by which input is busier; the mismatched chip errs until it is trained."""
    generator = np.random.default_rng(0)
    labels = np.arange(24) % 2
    raster = generator.poisson(1.0, (24, 20, 3))
    raster[labels == 1, :, 0] += 2
    raster[labels == 0, :, 1] += 2
    data, target = torch.from_numpy(raster).float(), torch.from_numpy(labels)
    network = exact()
    optimiser = torch.optim.Adam([network.net[0].weight, network.net[2].weight], lr=0.02)
    driver = FakeSamna(["imu"], alter=Mismatch(0.4, 0.4, seed=3))
    losses = []
    with connect("samna:", driver=driver) as session:
        loop = InTheLoop(network, session)
        for _ in range(12):
            optimiser.zero_grad()
            output, _, _ = loop(data)
            loss = torch.nn.functional.cross_entropy(8 * output.mean(1), target)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert min(losses[-3:]) < 0.7 * losses[0]


def test_a_session_for_another_chip_and_outputs_that_are_states_are_refused() -> None:
    with connect("sim:a3") as session, pytest.raises(ConfigurationError, match="Xylo-Audio 3"):
        InTheLoop(exact("imu"), session)
    network = chip_exact(exact().net, "imu", output_mode="Vmem")
    with connect("sim:imu") as session, pytest.raises(ConfigurationError, match="Vmem"):
        InTheLoop(network, session)
