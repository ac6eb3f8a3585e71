"""What must be refused before anything is written: memory in common, damaged files, wrong arguments."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkit.dag.analysis.tape import TapeError
from snnkit.teleport import TeleportError, load, random, random_teleport, save, symmetries, teleport
from snnkit.utilities.errors import FileFormatError


def _net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def _refused(model, match):
    before = [tensor.detach().clone() for tensor in model.parameters()]
    element = random(symmetries(_net(), torch.randn(1, 4)), 0.9)
    with pytest.raises(TeleportError, match=match):
        teleport(model, element)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_memory_shared_in_another_layout_is_refused():
    model, numbers = _net(), torch.randn(24)
    model[0].weight = nn.Parameter(numbers.view(4, 6).t())
    model[2].weight = nn.Parameter(numbers[:12].view(2, 6))
    _refused(model, "shares memory")


def test_memory_shared_with_a_buffer_that_stays_is_refused():
    model = _net()
    model.register_buffer("copy", model[0].weight.detach()[:2])
    _refused(model, "shares memory")


def test_memory_shared_with_a_tensor_that_is_no_neighbour_is_refused():
    model, numbers = _net(), torch.randn(100)
    model[0].weight = nn.Parameter(numbers.as_strided((6, 4), (10, 2)))
    model[0].bias = nn.Parameter(numbers.as_strided((6,), (2,), 11))  # between the entries of the weight
    model[2].weight = nn.Parameter(numbers.as_strided((2, 6), (1, 5), 30))
    _refused(model, "shares memory")


def test_interleaved_tensors_are_changed():
    model, numbers = _net().double(), torch.randn(6, 8, dtype=torch.float64)
    model[0].weight = nn.Parameter(numbers[:, ::2])
    model[2].weight = nn.Parameter(numbers[:2, 1::2].repeat(1, 2)[:, :6])
    extra = nn.Parameter(numbers[:, 1::2])
    model.register_parameter("extra", extra)
    x = torch.randn(3, 4, dtype=torch.float64)
    before, kept = model(x), extra.detach().clone()
    random_teleport(model, x, 0.9)
    assert torch.allclose(model(x), before, rtol=1e-12)
    assert torch.equal(extra, kept)


def test_expanded_parameters_are_refused():
    model = _net()
    model[0].weight = nn.Parameter(torch.randn(1, 4).expand(6, 4))
    _refused(model, "was expanded")


def test_inference_tensors_are_refused_outside_inference_mode():
    with torch.inference_mode():
        model = _net()
    _refused(model, "inference_mode")


def test_any_changed_bit_of_a_file_is_noticed(tmp_path):
    found = symmetries(_net(), torch.randn(1, 4))
    content = bytearray(save(random(found, permutations=True), tmp_path / "whole").read_bytes())
    for position in range(0, 8 * len(content), 37):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises((FileFormatError, TeleportError)):
            load(tmp_path / "damaged", found)


class Halves(nn.Module):
    def __init__(self, swapped):
        super().__init__()
        self.one, self.two, self.swapped = nn.Linear(4, 6), nn.Linear(6, 2), swapped

    def forward(self, x):
        parts = F.relu(self.one(x)).chunk(2, 1)
        return self.two(torch.cat(parts[::-1] if self.swapped else parts, 1))


def test_elements_of_a_net_with_other_wires_are_refused(tmp_path):
    x = torch.randn(1, 4)
    plain, swapped = symmetries(Halves(False), x), symmetries(Halves(True), x)
    assert [str(f) for f in plain.scales] == [str(f) for f in swapped.scales]
    save(random(plain), tmp_path / "element")
    with pytest.raises(TeleportError, match="another model"):
        load(tmp_path / "element", swapped)
    assert load(tmp_path / "element", symmetries(Halves(False), x.repeat(5, 1))).symmetries is not plain


@pytest.mark.parametrize(
    "wrong",
    [{"cob_range": float("nan")}, {"cob_range": "wide"}, {"center": float("inf")}, {"generator": 3}],
    ids=str,
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(TeleportError, match=next(iter(wrong))):
        random(symmetries(_net(), torch.randn(1, 4)), **wrong)


def test_functions_are_no_models():
    with pytest.raises(TapeError, match="Module"):
        symmetries(lambda x: x, torch.randn(1, 4))
