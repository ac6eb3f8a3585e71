"""Moving the channels of a group in all its members leaves the function as it is: nothing was forgotten."""

import copy

import numpy as np
import pytest
import torch
from coupling_models import CASES, case
from torch import Tensor, nn

from snnkit.dag import coupling
from snnkit.dag.channels import Coupling, Group


def permuted(model: nn.Module, groups: list[Group], seed: int = 0) -> nn.Module:
    rng = np.random.default_rng(seed)
    moved = copy.deepcopy(model)
    tensors = dict([*moved.named_parameters(), *moved.named_buffers()])
    for group in groups:
        order = rng.permutation(group.size)
        for member in group.members:
            index = np.arange(member.length)
            index[member.positions] = member.positions[order]
            tensor = tensors[member.name].data
            tensor.copy_(tensor.index_select(member.axis, torch.from_numpy(index)))
    return moved


def outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        return model(*inputs)


@pytest.mark.parametrize("name", CASES)
def test_permuting_every_group_keeps_the_function(name):
    model, inputs = case(name)
    found: Coupling = coupling(model, inputs)
    assert found.prunable
    assert not found.barriers
    expected = outputs(model, inputs)
    moved = outputs(permuted(model, list(found.prunable)), inputs)
    torch.testing.assert_close(moved, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_permuting_all_but_one_member_is_seen(name):
    """The check above can fail: each group of two members or more needs each of them."""
    model, inputs = case(name)
    found = coupling(model, inputs)
    group = max(found.prunable, key=lambda g: g.size * (len(g.members) > 1))
    members = [m for m in group.members if m.role in ("in", "out")]
    alone = Group(0, group.size, (members[-1],), (), (), (), group.atom)
    moved = outputs(permuted(model, [alone]), inputs)
    assert not torch.allclose(moved, outputs(model, inputs), rtol=1e-6)
