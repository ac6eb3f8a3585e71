"""A pruned model computes what the model with the dropped channels' weights at zero does."""

import numpy as np
import pytest
import torch
from coupling_models import CASES, case
from torch import nn
from torch.nn import functional as F

from snnkit.dag import build_from_unstructured_module
from snnkit.dag.pruning import Plan, PruningError, keep_channels, prune
from snnkit.dag.pruning.certificate import certify
from snnkit.dag.pruning.removal import remove_channels


@pytest.mark.parametrize("name", CASES)
def test_dropping_channels_at_random_equals_masking_them(name):
    model, inputs = case(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned = prune(model, inputs, Plan(ratio=0.4), "random")
    assert pruned.keep
    assert pruned.certificate.exact
    assert pruned.certificate.error < 1e-14
    assert pruned.after.parameters < pruned.before.parameters
    assert sum(p.numel() for p in pruned.model.parameters()) == pruned.after.parameters
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["einsum", "transformer"])
def test_soft_groups_are_left_alone_unless_asked_for_and_said_then(name):
    model, inputs = case(name)
    assert all(group.exact for group in prune(model, inputs, Plan(ratio=0.4)).keep)
    pruned = prune(model, inputs, Plan(ratio=0.4, soft=True), "random")
    assert pruned.certificate.soft
    assert not pruned.certificate.exact
    assert "soft groups" in str(pruned.certificate)
    assert all(
        "normalisation" in group.soft[0].text or "mean" in group.soft[0].text
        for group in pruned.certificate.soft
    )


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(12, 3, dropout=0.1)
        self.cross = nn.MultiheadAttention(12, 4, bias=False, kdim=6, vdim=10, batch_first=True)
        self.register_buffer("mask", torch.full((5, 5), -torch.inf).triu(1))
        self.last = nn.Linear(12, 3)

    def forward(self, x, keys, values):
        y = x.transpose(0, 1)
        x = x + self.own(y, y, y, attn_mask=self.mask, need_weights=False)[0].transpose(0, 1)
        return self.last(x + self.cross(x, keys, values, need_weights=False)[0])


def test_attention_layers_of_torch_lose_heads_and_channels():
    torch.manual_seed(0)
    inputs = tuple(torch.randn(shape).double() for shape in ((2, 5, 12), (2, 7, 6), (2, 7, 10)))
    model = Decoder().double().eval()
    pruned = prune(model, inputs, Plan(ratio=0.5), "random")
    assert {(g.kind, g.size) for g in pruned.keep} == {
        ("heads", 3), ("heads", 4), ("head channels", 4), ("head channels", 3), ("channels", 4),
        ("channels", 3),
    }  # fmt: skip
    assert pruned.certificate.error < 1e-14
    with torch.no_grad():
        torch.testing.assert_close(pruned.original(*inputs), model(*inputs), rtol=1e-12, atol=1e-12)


class Scaled(nn.Module):
    """Attention that leaves its scale to torch, which takes it from the size of the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 8) for _ in range(3))
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)))


def test_attention_keeps_the_scale_of_the_head_it_was_made_with():
    torch.manual_seed(0)
    pruned = prune(Scaled().double(), torch.randn(2, 5, 6).double(), Plan(ratios={"q.weight": 0.5}), "random")
    assert [group.size for group in pruned.keep] == [8]
    assert pruned.certificate.error < 1e-14
    attention = next(v for v in pruned.model.inner_vertices if v.operation == "scaled_dot_product_attention")
    assert attention.kwargs["scale"] == 8**-0.5


class SharedKeys(nn.Module):
    """Attention in which two heads of queries each share one of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv, self.out = nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x):
        batch, time, _ = x.shape
        q = self.q(x).view(batch, time, 4, 4).transpose(1, 2)
        k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.kv(x).chunk(2, dim=-1))
        k, v = k.repeat_interleave(2, 1), v[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def test_heads_that_share_keys_go_by_head_of_keys_or_by_query():
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 6).double()
    pruned = prune(SharedKeys().double(), inputs, Plan(ratio=0.5, kinds=("heads",)), "random")
    assert [group.size for group in pruned.keep] == [2, 2]
    assert pruned.certificate.error < 1e-14
    repeated = next(v for v in pruned.model.inner_vertices if v.operation == "repeat_interleave")
    assert repeated.args[1] == 1


def test_a_batch_norm_behind_a_concatenation_does_not_turn_dropped_channels_into_constants():
    model, inputs = case("densenet")
    pruned = prune(model, inputs, Plan(ratio=0.5), "random")
    masked, smaller = pruned.masked(), pruned.model
    with torch.no_grad():
        torch.testing.assert_close(smaller(*inputs), masked(*inputs), rtol=1e-12, atol=1e-12)
        assert not torch.allclose(smaller(*inputs), model(*inputs), rtol=1e-3)


def test_the_check_finds_a_forgotten_member():
    model, inputs = case("unet")
    dag = build_from_unstructured_module(model, inputs)
    pruned = prune(dag, inputs, Plan(ratio=0.4), "random")
    other = {group: np.roll(mask, 1) for group, mask in pruned.keep.items()}
    with pytest.raises(PruningError, match="differs from the masked model"):
        certify(dag, pruned.model, pruned.coupling, other, inputs)


class Singular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        y = torch.sigmoid(self.first(x))
        return self.second(y) + (y @ y.transpose(-2, -1)).mean()


def test_products_of_activations_that_are_not_zero_are_soft():
    pruned = prune(Singular(), torch.randn(2, 5, 4), Plan(ratio=0.5, soft=True))
    (group,) = pruned.keep
    assert "not zero where the weights are" in " ".join(reason.text for reason in group.soft)
    assert not pruned.certificate.exact


def test_another_batch_runs_through_the_pruned_model():
    for name in ("resnet", "shufflenet", "rotary"):
        model, inputs = case(name)
        pruned = prune(model, inputs, Plan(ratio=0.4), "random")
        larger = tuple(torch.cat([x, x[:1]]) for x in inputs)
        assert pruned.model(*larger).shape[0] == inputs[0].shape[0] + 1


def test_gradients_flow_into_the_pruned_model():
    model, inputs = case("mobilenet")
    smaller = prune(model, inputs, Plan(ratio=0.4)).model
    smaller(*inputs).square().mean().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())


def test_tied_weights_are_one_parameter_in_the_pruned_model():
    model, inputs = case("language_model")
    smaller = prune(model, inputs, Plan(ratio=0.5), "random").model
    shapes = [tuple(p.shape) for p in smaller.parameters() if p.ndim == 2 and 11 in p.shape]
    assert shapes == [(11, 4)]


def test_masks_of_the_wrong_length_and_empty_groups_are_refused():
    model, inputs = case("unet")
    dag = build_from_unstructured_module(model, inputs)

    def nothing(dag, coupling, cost_model):
        return {coupling.prunable[0]: np.zeros(coupling.prunable[0].size, bool)}

    with pytest.raises(PruningError, match="no channel would remain"):
        keep_channels(dag, inputs, nothing)
    coupling = prune(dag, inputs, Plan(ratio=0.4)).coupling
    with pytest.raises(PruningError, match="3 entries"):
        remove_channels(dag, coupling, {coupling.prunable[0]: np.array([True, True, False])})


class OwnPrecision(nn.Module):
    """Types and factories as user code has them: half of it would not run in float64 as it stands."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        y = self.first(x) + torch.zeros(x.shape[0], 8)
        y = torch.softmax(y.float() * torch.ones(1, dtype=torch.float32), 0).to(torch.float32)
        return self.last(torch.relu(y.type_as(x)))


def test_the_certificate_holds_for_models_that_name_their_types():
    torch.manual_seed(0)
    pruned = prune(OwnPrecision(), torch.randn(3, 4), Plan(ratio=0.5), "random")
    assert pruned.keep
    assert pruned.certificate.error < 1e-14
    assert torch.get_default_dtype() == torch.float32
    assert pruned.model(torch.randn(3, 4)).dtype == torch.float32
