"""What a chip cannot connect: the order of weights and neurons, outputs, residual blocks."""

import itertools

from torch import nn

from snnkit.dag import Add, Concat, DagModule, Identity
from snnkit.hw.xylo.mapping.check import check
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch


def layers(*sizes: int, **lif: object) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        modules += [LinearTorch((n_in, n_out)), LIFTorch(n_out, **lif)]
    return modules


def rules(net: nn.Module, chip: str = "imu") -> list[tuple[str, str]]:
    return [(violation.rule, violation.where) for violation in check(net, chip).violations]


def only_violation(net: nn.Module, chip: str = "imu"):
    violations = check(net, chip).violations
    assert len(violations) == 1, [str(violation) for violation in violations]
    assert violations[0].fix
    return violations[0]


def graph_of(build) -> DagModule:
    graph = DagModule("test")
    graph.mark_as_output(*build(graph, graph.add_input_vertex("input")))
    return graph


def layer(graph, name, source, n_in, n_out):
    weights = graph.add_vertex(f"w_{name}", LinearTorch((n_in, n_out)), [source])
    return graph.add_vertex(name, LIFTorch(n_out), [weights])


def test_consecutive_weights():
    net = Sequential(LinearTorch((3, 5)), *layers(5, 4, 2))
    assert rules(net) == [("consecutive weights", "1_LinearTorch")]


def test_neurons_without_weights():
    net = Sequential(LIFTorch(3), *layers(3, 4, 2))
    assert rules(net) == [("neurons need weights", "0_LIFTorch")]


def test_outputs_that_are_not_neurons():
    net = Sequential(*layers(3, 4), LinearTorch((4, 2)))
    assert rules(net) == [("output neurons needed", "2_LinearTorch")]
    graph = graph_of(lambda graph, x: [graph.add_vertex("same", Identity(), [x])])
    assert rules(graph) == [("output neurons needed", "same")]


def test_a_single_layer_has_no_hidden_neurons():
    assert rules(Sequential(*layers(3, 2))) == [
        ("input drives outputs", "0_LinearTorch"),
        ("hidden layer needed", "1_LIFTorch"),
    ]


def test_recurrent_outputs():
    net = Sequential(*layers(3, 4), LinearTorch((4, 2)), LIFTorch(2, has_rec=True))
    assert rules(net) == [("recurrent outputs", "3_LIFTorch")]


def test_outputs_that_drive_other_neurons():
    def build(graph, x):
        first = layer(graph, "first", x, 3, 4)
        second = layer(graph, "second", first, 4, 2)
        return [second, layer(graph, "third", second, 2, 2)]

    assert rules(graph_of(build)) == [("outputs drive neurons", "second")]


def test_an_output_used_twice():
    def build(graph, x):
        out = layer(graph, "out", layer(graph, "first", x, 3, 4), 4, 2)
        return [out, out]

    assert rules(graph_of(build)) == [("output used twice", "out")]


def test_residual_block_at_the_input():
    net = Sequential(Residual(*layers(4, 4)), *layers(4, 5, 2))
    violation = only_violation(net)
    assert (violation.rule, violation.where) == ("alias source", "0_TorchResidual.add")
    assert "LIFTorch between" in violation.fix


def test_residual_block_at_the_output():
    net = Sequential(*layers(3, 4), Residual(*layers(4, 4)))
    violation = only_violation(net)
    assert (violation.rule, violation.where) == ("alias to an output", "2_TorchResidual")
    assert "1_LIFTorch + 2_TorchResidual.1_LIFTorch" in violation.value


def test_alias_from_an_output():
    def build(graph, x):
        out = layer(graph, "out", layer(graph, "first", x, 3, 4), 4, 4)
        second = layer(graph, "second", out, 4, 4)
        both = graph.add_vertex("add", Add(), [second, out])
        return [out, layer(graph, "end", both, 4, 2)]

    assert ("alias from an output", "add") in rules(graph_of(build))


def test_two_alias_targets_for_one_population():
    def build(graph, x):
        first = layer(graph, "first", x, 3, 4)
        sums = []
        for name in ("a", "b"):
            block = layer(graph, name, first, 4, 4)
            sums.append(graph.add_vertex(f"add_{name}", Add(), [block, first]))
        return [layer(graph, "out", graph.add_vertex("join", Concat(), sums), 8, 2)]

    violation = only_violation(graph_of(build))
    assert (violation.rule, violation.value, violation.limit) == ("alias targets", 2, 1)
    assert violation.where == "first (copied onto a and b)"


def test_sums_of_unlike_things():
    def mixed(graph, x):
        first = layer(graph, "first", x, 3, 4)
        weights = graph.add_vertex("w", LinearTorch((4, 4)), [first])
        return [layer(graph, "out", graph.add_vertex("add", Add(), [weights, first]), 4, 2)]

    assert rules(graph_of(mixed))[0] == ("addition", "add")

    def unequal(graph, x):
        one, two = layer(graph, "one", x, 3, 4), layer(graph, "two", x, 3, 5)
        return [layer(graph, "out", graph.add_vertex("add", Add(), [one, two]), 5, 2)]

    assert rules(graph_of(unequal))[0] == ("layer sizes", "add")


def test_several_network_inputs():
    graph = DagModule("two inputs")
    x, y = graph.add_input_vertex("x"), graph.add_input_vertex("y")
    first = layer(graph, "first", graph.add_vertex("join", Concat(), [x, y]), 4, 4)
    graph.mark_as_output(layer(graph, "out", first, 4, 2))
    assert ("network inputs", "DagModule 'two inputs'") in rules(graph)
