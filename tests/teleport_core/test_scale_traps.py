"""What looks as if factors could pass, and must not be taken for it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkit.dag.analysis.axes import fresh
from snnkit.dag.analysis.flow import never
from snnkit.dag.analysis.module_rules import ModuleRule, register_module_rule
from snnkit.dag.analysis.recording import record
from snnkit.dag.errors import GraphError
from snnkit.dag.scales import ScaleFlow, register_scale_rule, scales, scales_of_tape
from snnkit.teleport import TeleportError, random, random_teleport, symmetries, teleport


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("bound", torch.rand(6) + 0.5)


class ReadsVariance(Base):
    """What absorbs factors is read by something else."""

    def forward(self, x):
        return self.two(torch.relu(self.norm(self.one(x)) * self.norm.running_var.sqrt()))


class ReadsVarianceFirst(Base):
    def forward(self, x):
        spread = torch.linalg.norm(self.norm.running_var.exp())
        return self.two(torch.relu(self.norm(self.one(x)))) + spread


class ReadsVarianceUnknown(Base):
    def forward(self, x):
        spread = self.norm.running_var.sort().values.sum()
        return self.two(torch.relu(self.norm(self.one(x)))) * spread


class BoundInABuffer(Base):
    def forward(self, x):
        return self.two(torch.minimum(torch.relu(self.one(x)), self.bound))


class HiddenOutput(Base):
    def forward(self, x):
        hidden = torch.relu(self.one(x))
        return {"scores": self.two(hidden), "hidden": [hidden]}


class InPlaceSlice(Base):
    def forward(self, x):
        y = torch.relu(self.one(x))
        y[:, :3] += x[:, :3]
        return self.two(y)


class AliasChanged(Base):
    """A view is written; what it is a view of is read afterwards."""

    def forward(self, x):
        y = self.one(x)
        y.view(-1).tanh_()
        return self.two(y)


class WrittenInput(Base):
    def forward(self, x):
        x = x.clone()
        x += self.one(x)[:, :4]
        return self.two(F.pad(x, (0, 2)))


class UsesWeightElsewhere(Base):
    def forward(self, x):
        return self.two(torch.relu(self.one(x))) + self.one.weight.sigmoid().sum()


class OneChannelOfBatch(Base):
    """Samples are told apart by position."""

    def forward(self, x):
        y = torch.relu(self.one(x))
        return self.two(y - y[0:1])


class BatchAsChannels(Base):
    def forward(self, x):
        y = torch.relu(self.one(x))
        return self.two((y.t() @ y) @ torch.ones(6, 6, dtype=y.dtype) / 4)


class TiedTransposed(Base):
    """The second layer is the first one's transpose: an autoencoder."""

    def forward(self, x):
        return F.linear(torch.relu(self.one(x)), self.one.weight.t())


class TiedTransposedTwice(Base):
    def forward(self, x):
        y = F.linear(torch.relu(self.one(x)), self.one.weight.t())
        return F.linear(torch.relu(self.one(y)), self.one.weight.t())


class Quadratic(Base):
    def forward(self, x):
        y = self.one(x)
        return self.two(y * y + y)


class FactorOfChannels(Base):
    def forward(self, x):
        return self.two(torch.relu(self.one(x)) * torch.arange(6, dtype=x.dtype))


class Threshold(Base):
    def forward(self, x):
        y = self.one(x)
        return self.two(torch.where(y > 0.3, y, 0.0))


class JumpAtASmallNumber(Base):
    """Homogeneous but for a step that only numbers near it show."""

    def forward(self, x):
        return self.two(F.hardshrink(self.one(x), 0.01))


class OverItsSpread(Base):
    """Even in the spread: a sign of the weight is not lost, and must not pass ReLU."""

    def forward(self, x):
        weight = self.one.weight / self.one.weight.std(1, keepdim=True)
        return self.two(torch.relu(F.linear(x, weight)))


class NoiseWrittenAside(Base):
    """The operation writes into one of its arguments and returns something else."""

    def forward(self, x):
        return self.two(F.rrelu(self.one(x), 0.1, 0.3, training=False))


class NumberRead(Base):
    def forward(self, x):
        return self.two(torch.relu(self.one(x))) * self.one.weight.norm().item()


class NumbersInAList(Base):
    def forward(self, x):
        return self.two(torch.relu(self.one(x))) * self.one.weight.tolist()[0][0]


class NumbersInAnArray(Base):
    def forward(self, x):
        return self.two(torch.relu(self.one(x))) * float(self.one.weight.detach().numpy()[0, 0])


class DecidedByANumber(Base):
    def forward(self, x):
        y = torch.relu(self.one(x))
        return self.two(y) * (2 if y.mean() > 0.2 else 1) * (2 if torch.allclose(y, x[:, :1]) else 1)


TRAPS = {
    ReadsVariance: 6, ReadsVarianceFirst: 6, ReadsVarianceUnknown: 6, BoundInABuffer: 0, HiddenOutput: 0,
    InPlaceSlice: 3, AliasChanged: 0, WrittenInput: 2, UsesWeightElsewhere: 0, OneChannelOfBatch: 6,
    BatchAsChannels: 1, TiedTransposed: 0, TiedTransposedTwice: 0, Quadratic: 0, FactorOfChannels: 6,
    Threshold: 0, JumpAtASmallNumber: 0, OverItsSpread: 6, NoiseWrittenAside: 6, NumberRead: 0,
    NumbersInAList: 0, NumbersInAnArray: 0, DecidedByANumber: 0,
}  # fmt: skip


def _flat(result):
    if isinstance(result, dict):
        return torch.cat([_flat(value).ravel() for value in result.values()])
    return torch.cat([value.ravel() for value in result]) if isinstance(result, list) else result


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_traps(trap):
    torch.manual_seed(0)
    model, x = trap().double().eval(), torch.randn(4, 4, dtype=torch.float64)
    model.norm.running_var.uniform_(0.5, 2)
    found = symmetries(model, x)
    assert found.n_scales == TRAPS[trap], found
    with torch.no_grad():
        before = _flat(model(x))
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            teleport(model, random(found, 0.9, "inter_landscape", generator=generator, permutations=True))
            assert float((_flat(model(x)) - before).abs().max() / before.abs().max()) < 1e-12


class Doubling(nn.Module):
    """One operation of the tape, whose rules are registered below."""

    def __init__(self, size):
        super().__init__()
        self.threshold = nn.Parameter(torch.rand(size) + 0.5)
        self.register_buffer("state", torch.zeros(size))

    def forward(self, x):
        return (x > self.threshold).to(x.dtype) + self.state * 0


def _axes(op, p):
    x, held = op.argument("inputs")[0][0], op.argument("held")
    for value in held.values():
        p.same(p.of(x)[-1], p.of(value)[0], op)
    return [p.of(x)]


def _events(op, flow: ScaleFlow):
    x, held = op.argument("inputs")[0][0], op.argument("held")
    if flow.kind == "sign":
        return flow.barrier(op, "thresholds are not odd")
    ids = flow.constant_along(flow.ids(x), range(len(x.shape) - 1)).reshape(-1)
    for value in held.values():
        flow.set(value, (1, ids))
    return flow.ones(op)


register_module_rule(Doubling, ModuleRule(_axes, never))


def test_modules_join_through_a_registered_rule():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), Doubling(6), nn.Linear(6, 2)).double()
    x = torch.randn(50, 4, dtype=torch.float64)
    assert symmetries(model, x).n_scales == 0  # without a rule, a barrier
    register_scale_rule(Doubling, _events)
    found = symmetries(model, x)
    assert [(f.name, f.size) for f in found.scales] == [("0.weight", 6)]
    assert dict(found.scales[0].members) == {"0.weight": 1, "0.bias": 1, "1.threshold": 1, "1.state": 1}
    before, threshold = model(x), model[1].threshold.clone()
    random_teleport(model, x, 0.9, permutations=True)
    assert torch.equal(model(x).round(decimals=12), before.round(decimals=12))
    assert not torch.equal(model[1].threshold.sort().values, threshold.sort().values)


def test_a_module_used_twice_ties_what_its_rule_sets():
    register_scale_rule(Doubling, _events)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)
            self.events = Doubling(6)

        def forward(self, x):
            return self.out(self.events(self.one(x)) + self.events(self.two(x)))

    found = symmetries(Twice(), torch.randn(3, 4))
    assert found.n_scales == 6
    assert {"one.weight", "two.weight", "events.threshold"} <= {name for name, _ in found.scales[0].members}


def test_random_functions_draw_no_numbers_of_the_user():
    class Noisy(Base):
        def forward(self, x):
            return self.two(torch.bernoulli(torch.sigmoid(self.one(x))))

    model = Noisy()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    symmetries(model, torch.zeros(1, 4))
    assert torch.equal(torch.rand(3), expected)


def test_free_factors_are_all_in_some_parameter():
    model = Base()
    model.forward = lambda x: model.two(torch.relu(model.one(x)))
    for kind in ("positive", "sign"):
        found = scales(model, torch.randn(1, 4), kind=kind)
        assert set(found.first_uses) <= set(found.used.tolist())


def test_unknown_kinds_are_refused():
    tape = record(nn.Linear(2, 2), torch.randn(1, 2))
    with pytest.raises(GraphError, match="positive"):
        scales_of_tape(tape, "positiv")
    with pytest.raises(GraphError, match="statistics"):
        scales_of_tape(tape, batch_norm="statistic")
    with pytest.raises(TeleportError, match="statistics"):
        symmetries(nn.Linear(2, 2), torch.randn(1, 2), batch_norm="statistic")


def test_sizes_of_zero_and_one():
    model = nn.Sequential(nn.Linear(3, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    before = model(x)
    element = random_teleport(model, x, 0.9, "positive")
    assert element.symmetries.n_scales == 1
    assert torch.allclose(model(x), before, rtol=1e-12)
    assert symmetries(nn.Linear(3, 2), torch.randn(0, 3)).n_scales == 0
    assert fresh(1).size == 1


def test_what_only_training_reads_stays():
    class Auxiliary(Base):
        def forward(self, x):
            y = torch.relu(self.one(x))
            return self.norm(y) if self.training else self.two(y)

    model = Auxiliary().eval()
    element = random_teleport(model, torch.randn(3, 4), 0.9, permutations=True)
    assert not any(name.startswith("norm") for name in element.changes())
