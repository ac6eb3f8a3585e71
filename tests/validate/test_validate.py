"""Network beside chip: agreement, the first difference and its reason."""

import numpy as np
import pytest
import torch
from torch import nn

from snnkit.hw.xylo import deploy
from snnkit.hw.xylo.validation.causes import steps_to_chip
from snnkit.hw.xylo.validation.validate import validate
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError, DataError, ShapeError


def lif(n: int, **options: object) -> LIFTorch:
    """Decays of 3/4 and 1/2 in a step: exactly bit shifts of 2 and 1."""
    taus = {"tau_mem": -5e-3 / np.log(0.75), "tau_syn": -5e-3 / np.log(0.5)}
    settings = taus | {"dt": 5e-3, "max_spikes_per_dt": 31} | options
    return LIFTorch(n, **settings)


def two_layers(seed: int = 0, **options: object) -> Sequential:
    torch.manual_seed(seed)
    return Sequential(
        LinearTorch((6, 20), has_bias=False), lif(20, **options),
        LinearTorch((20, 3), has_bias=False), lif(3, max_spikes_per_dt=1),
    )  # fmt: skip


def residual(seed: int = 0) -> Sequential:
    torch.manual_seed(seed)
    return Sequential(
        LinearTorch((6, 10), has_bias=False), lif(10),
        Residual(LinearTorch((10, 10), has_bias=False), lif(10)),
        LinearTorch((10, 3), has_bias=False), lif(3, max_spikes_per_dt=1),
    )  # fmt: skip


def events(samples: int = 4, steps: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (samples, steps, 6))


def test_agreement_of_a_deployed_network() -> None:
    net, raster = two_layers(), events()
    deployment = deploy(net, "imu", calibration=raster)
    validation = validate(net, deployment, raster, labels=[0, 1, 2, 0])
    paths = [p.path for p in deployment.specification.populations]
    assert [p.path for p in validation.populations] == paths
    hidden = validation.populations[0]
    assert hidden.a_events > 100
    assert hidden.same_events > 0.6
    assert hidden.rate_error < 0.2
    assert 0 <= validation.prediction_agreement <= 1
    assert validation.net_accuracy is not None
    assert validation.counters.time_steps == 4 * (40 + deployment.delay)
    assert "same class" in str(validation)


def test_network_is_left_as_it_is() -> None:
    net, raster = two_layers(), events()
    deployment = deploy(net, "imu", calibration=raster)
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    validate(net, deployment, raster)
    assert net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("make", [two_layers, residual])
def test_float_core_in_the_chips_layout_is_the_network(make) -> None:
    """The first step of the ladder changes nothing, apart from float32: it is the network with hop delays."""
    net, raster = make(), events(2, 20)
    deployment = deploy(net, "imu", calibration=raster)
    ones = tuple(np.ones(size) for size in deployment.mapped.shape[1:])
    first = next(iter(steps_to_chip(deployment.mapped, deployment.specification, ones)))
    captured = {}

    def keep(_module, _arguments, output):
        captured["output"] = output[0] if isinstance(output, tuple) else output

    next(m for m in nn.Module.modules(net) if isinstance(m, LIFTorch)).register_forward_hook(keep)
    net.eval()(torch.from_numpy(raster).float())
    population = deployment.specification.populations[0]
    for sample in range(2):
        hidden, _ = first.core.run(raster[sample])
        expected = captured["output"][sample].detach().numpy()
        agree = (hidden[:, population.start : population.stop] == expected).mean()
        assert agree > 0.98


def test_specification_alone_is_enough() -> None:
    net, raster = two_layers(), events()
    deployment = deploy(net, "imu", calibration=raster)
    assert str(validate(net, deployment.specification, raster)) == str(validate(net, deployment, raster))
    with pytest.raises(ConfigurationError, match="not one of this network"):
        validate(residual(), deployment.specification, raster)


def test_first_difference_is_the_first_in_time() -> None:
    net, raster = two_layers(), events(3, 60)
    deployment = deploy(net, "imu", calibration=raster)
    found = validate(net, deployment, raster).divergence
    assert found is not None
    assert found.a_value != found.b_value
    shorter = validate(net, deployment, raster[:, : found.time]) if found.time else None
    assert shorter is None or shorter.divergence is None
    exact = validate(net, deployment, raster[:, : found.time + 1]).divergence
    assert exact is not None
    assert (exact.time, exact.layer) == (found.time, found.layer)


def test_clipped_input_is_named() -> None:
    net, raster = two_layers(), events()
    deployment = deploy(net, "imu", calibration=raster)
    loud = np.zeros_like(raster)
    loud[1, 3] = 200
    found = validate(net, deployment, loud).divergence
    assert found is not None
    assert found.cause == "clipped events"
    assert found.reason.startswith("clipped events")
    assert (found.sample, found.time) == (1, 3)


def single_neuron(weight: float = 1.0, tau: float = 0.02, threshold: float = 1.0) -> nn.Module:
    return Sequential(
        LinearTorch((1, 1), weight=torch.tensor([[weight]]), has_bias=False),
        lif(1, tau_mem=tau, tau_syn=tau, threshold=threshold),
        LinearTorch((1, 1), weight=torch.tensor([[1.0]]), has_bias=False), lif(1, max_spikes_per_dt=1),
    )  # fmt: skip


def test_dash_rounding_is_named() -> None:
    # exp(-5/12) leaves 66 %; the nearest bit shifts leave 50 % or 75 %.
    net = single_neuron(tau=0.012, threshold=2.5)
    raster = np.ones((1, 30, 1), int)
    found = validate(net, deploy(net, "imu", calibration=raster), raster).divergence
    assert found is not None
    assert found.cause == "dash rounding"
    assert "threshold" in found.reason


def test_exact_network_has_no_difference() -> None:
    """Decays that clear the state at once and whole numbers leave nothing to round."""
    net = single_neuron(weight=0.0)
    validation = validate(net, deploy(net, "imu"), np.ones((2, 5, 1), int))
    assert validation.divergence is None
    assert validation.prediction_agreement == 1.0
    assert all(p.rate_error == 0 and p.same_events == 1 for p in validation.populations)


def test_rasters_that_are_no_counts_are_refused() -> None:
    net = two_layers()
    deployment = deploy(net, "imu", calibration=events())
    with pytest.raises(ShapeError, match="channels"):
        validate(net, deployment, np.zeros((1, 4, 7), int))
    with pytest.raises(DataError, match="whole numbers"):
        validate(net, deployment, np.full((1, 4, 6), 0.5))
