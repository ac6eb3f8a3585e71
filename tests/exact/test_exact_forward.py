"""A chip-exact network computes what its program does: every event and every state, bit for bit."""

import numpy as np
import pytest
import torch
from exact.exact_nets import CHIPS, random_case, recorded_by

from snnkit.hw.xylo import XyloSim, chip_exact, deploy, lower, quantise
from snnkit.hw.xylo.simulator.reference import ReferenceState, reference_run
from snnkit.nn.combinators import FFwdStack, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet

SEEDS = range(150)


@pytest.mark.parametrize("share", range(3))
def test_forward_equals_the_simulation_of_its_deployment(share):
    compared, saturated, chips, aliases, synapses = 0, 0, set(), 0, 0
    for seed in SEEDS[share::3]:
        case = random_case(seed)
        exact = case.exact()
        spec = deploy(exact, case.chip).specification
        assert spec == exact.specification
        sim = XyloSim(spec)
        for data in (case.first, case.second):  # states carry over
            mine = recorded_by(exact, data)
            output, _, record = sim(data.numpy(), record=True)
            record.pop("Hibernation", None)
            assert mine.keys() == {*record, "Spikes_out"}
            for name, values in {**record, "Spikes_out": output}.items():
                np.testing.assert_array_equal(mine[name], values, f"seed {seed}: {name}")
                compared += 1
            saturated += sim.counters.total_saturations > 0
        chips.add(case.chip)
        aliases += any(spec.aliases)
        synapses += spec.n_synapses == 2
    # The cases do contain what they are to show.
    assert chips == set(CHIPS)
    assert min(saturated, aliases, synapses) >= 3
    assert compared >= 5 * 2 * len(SEEDS) // 3


@pytest.mark.parametrize("seed", range(400, 415))
def test_forward_equals_the_plain_reference(seed):
    case = random_case(seed)
    exact = case.exact()
    spec = exact.specification
    states = [ReferenceState.zero(spec) for _ in range(len(case.first))]
    for data in (case.first, case.second):
        mine = recorded_by(exact, data)
        for sample, state in enumerate(states):
            recorded, _, _ = reference_run(spec, data[sample].numpy().astype(int), state)
            for name, values in mine.items():
                np.testing.assert_array_equal(values[sample], recorded[name], name)


@pytest.mark.parametrize("seed", range(500, 540))
def test_program_is_what_deployment_makes_of_the_same_parameters(seed):
    case = random_case(seed)
    exact = case.exact()
    assert exact.specification == quantise(lower(case.net, case.chip), case.plan).specification


@pytest.mark.parametrize(
    ("chip", "build"),
    [
        (
            "imu",
            lambda: Sequential(
                LinearTorch((3, 4)),
                FFwdStack(LIFTorch(4, leak_mode="decays", alpha=0.9), LIFTorch(3, leak_mode="bitshifts")),
            ),
        ),
        (
            "a3",
            lambda: SynNet(
                n_classes=2, n_channels=3, size_hidden_layers=[6, 6], time_constants_per_layer=[2, 3]
            ),
        ),
    ],
)
def test_weights_in_containers_and_ready_made_networks(chip, build):
    torch.manual_seed(0)
    net = build()
    data = torch.randint(0, 4, (9, 20, 3)).float()
    exact = chip_exact(net, chip, data)
    output, _, _ = exact(data)
    np.testing.assert_array_equal(output.detach().numpy(), exact.simulator()(data.numpy())[0])
    output.sum().backward()
    weights = [p for name, p in torch.nn.Module.named_parameters(exact) if "weight" in name]
    assert weights
    assert all(p.grad is not None for p in weights)


def test_a_layer_that_feeds_two_populations_is_rounded_for_each():
    from snnkit.dag import Concat, DagModule

    torch.manual_seed(1)
    graph = DagModule("shared")
    data = graph.add_input_vertex("data")
    first = graph.add_vertex("first", LIFTorch(4), [graph.add_vertex("in", LinearTorch((3, 4)), [data])])
    shared = graph.add_vertex("shared", LinearTorch((4, 4)), [first])
    left = graph.add_vertex("left", LIFTorch(4, threshold=0.3), [shared])
    right = graph.add_vertex("right", LIFTorch(4, threshold=2.0), [shared])
    both = graph.add_vertex("both", Concat(-1), [left, right])
    graph.mark_as_output(
        graph.add_vertex("out", LIFTorch(2), [graph.add_vertex("read", LinearTorch((8, 2)), [both])])
    )
    exact = chip_exact(graph, "a3")
    events = torch.randint(0, 5, (2, 20, 3)).float()
    output, _, _ = exact(events)
    np.testing.assert_array_equal(output.detach().numpy(), exact.simulator()(events.numpy())[0])
    assert exact.specification == quantise(lower(graph, "a3")).specification


def test_hops_take_a_step_each_and_deployments_need_no_alignment():
    quick = {"leak_mode": "decays", "alpha": 0.5, "beta": 0.5, "threshold": 0.1}
    net = Sequential(
        *(LinearTorch((1, 1), weight=torch.ones(1, 1)), LIFTorch(1, **quick)),
        *(LinearTorch((1, 1), weight=torch.ones(1, 1)), LIFTorch(1, **quick)),
        *(LinearTorch((1, 1), weight=torch.ones(1, 1)), LIFTorch(1, **quick)),
    )
    pulse = torch.zeros(1, 8, 1)
    pulse[0, 0] = 1
    exact = chip_exact(net, "a2")
    deployment = deploy(exact, "a2")
    assert int(net(pulse)[0][0, :, 0].nonzero()[0]) == 0
    assert int(exact(pulse)[0][0, :, 0].nonzero()[0]) == 2
    assert deployment.delay == 0
    exact.reset_state()
    assert torch.equal(exact(pulse)[0].detach().to(torch.int64), deployment.run(pulse))


@pytest.mark.parametrize("mode", ["Vmem", "Isyn"])
def test_states_of_output_neurons_can_be_the_output(mode):
    case = random_case(7)
    exact = chip_exact(case.net, case.chip, plan=case.plan, output_mode=mode)
    output, _, _ = exact(case.first)
    expected, _, _ = exact.simulator()(case.first.numpy())
    np.testing.assert_array_equal(output.detach().numpy(), expected)
