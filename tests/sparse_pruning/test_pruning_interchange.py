import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import snnkit.transforms.torch_transform as tt
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.sparse import convert
from snnkit.sparse.pruning import (
    apply_masks,
    from_torch_prune,
    load_masks,
    masks_from_transforms,
    masks_of,
    prune_masks,
    save_masks,
    to_torch_prune,
    torch_prune_masks,
)
from snnkit.utilities.errors import ConfigurationError, FileFormatError
from snnkit.utilities.files import write_arrays


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Sequential(nn.Linear(12, 6), nn.Linear(6, 2)))


def test_masks_of_torchs_pruners_are_read_and_made_plain():
    net = model()
    prune.global_unstructured(
        [(net[0], "weight"), (net[2][0], "weight")], pruning_method=prune.L1Unstructured, amount=0.5
    )
    prune.random_unstructured(net[2][1], "bias", amount=1)
    read = torch_prune_masks(net)
    assert set(read) == {"0.weight", "2.0.weight", "2.1.bias"}
    x = torch.randn(2, 2, 4, 4)
    expected = net(x)
    masks = from_torch_prune(net)
    assert set(masks) == {"0.weight", "2.0.weight"}
    assert all(torch.equal(masks[name], read[name]) for name in masks)
    torch.testing.assert_close(net(x), expected)
    assert "weight" in net[0]._parameters
    assert all(torch.equal(masks_of(net)[name], mask) for name, mask in masks.items())


def test_torchs_global_pruner_and_ours_choose_the_same():
    ours, theirs = model(), model()
    names = ["0.weight", "2.0.weight", "2.1.weight"]
    layers = [(theirs[0], "weight"), (theirs[2][0], "weight"), (theirs[2][1], "weight")]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.8)
    expected = torch_prune_masks(theirs)
    found = prune_masks(ours, 0.8, minimum=0)
    assert all(torch.equal(found[name], expected[name]) for name in names)


def test_masks_go_to_torch_and_back():
    net = model()
    masks = prune_masks(net, 0.7)
    twin = copy.deepcopy(net)
    to_torch_prune(net, masks)
    assert prune.is_pruned(net)
    apply_masks(twin, masks)
    x = torch.randn(2, 2, 4, 4)
    torch.testing.assert_close(net(x), twin(x))
    assert all(torch.equal(mask, masks[name]) for name, mask in from_torch_prune(net).items())
    assert not prune.is_pruned(net)


def test_a_shared_weight_is_masked_in_each_layer_that_holds_it():
    net = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    net["b"].weight = net["a"].weight
    mask = prune_masks(net, 0.5)["a.weight"]
    to_torch_prune(net, {"b.weight": mask})
    assert torch.equal(net["a"].weight != 0, mask)
    assert torch.equal(net["b"].weight != 0, mask)
    assert net["a"].weight_orig is net["b"].weight_orig


def test_a_pruned_model_is_refused_until_it_is_plain():
    net = model()
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    with pytest.raises(ConfigurationError, match="from_torch_prune"):
        prune_masks(net, 0.5)
    from_torch_prune(net)
    prune_masks(net, 0.5)


def test_what_torch_cannot_hold_is_refused_as_a_whole():
    net = nn.Sequential(nn.Linear(4, 4), convert(nn.Linear(4, 4), "csr"), LinearTorch((4, 4)))
    masks = {name: torch.ones(4, 4, dtype=torch.bool) for name in ("0.weight", "1.weight", "2.weight")}
    with pytest.raises(ConfigurationError, match=r"1\.weight, 2\.weight"):
        to_torch_prune(net, masks)
    assert not prune.is_pruned(net)


def test_masks_of_transforms_are_read_and_held_by_them():
    torch.manual_seed(0)
    net = Sequential(LinearTorch((5, 8)), LIFTorch(8, has_rec=True))
    config = tt.make_param_T_config(net, tt.MagnitudePruning(0.5), "weights")
    state = tt.transform_state(tt.make_param_T_network(net, config))
    masks = masks_from_transforms(state)
    assert set(masks) == {"0_LinearTorch.weight", "1_LIFTorch.w_rec"}
    expected = prune_masks(net, 0.5, allocation="local")
    assert all(torch.equal(mask, expected[name]) for name, mask in masks.items())
    apply_masks(net, masks)
    held = tt.make_param_T_network(net, tt.make_param_T_config(net, tt.FixedMask(), "weights"))
    again = masks_from_transforms(tt.transform_state(held))
    assert all(torch.equal(mask, masks[name]) for name, mask in again.items())


def test_masks_come_back_from_their_file(tmp_path):
    masks = {**prune_masks(model(), 0.7), "odd": torch.tensor([[True, False, True]])}
    path = save_masks(tmp_path / "masks.safetensors", masks)
    found = load_masks(path)
    assert set(found) == set(masks)
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())
    assert path.read_bytes() == save_masks(tmp_path / "again.safetensors", found).read_bytes()


def test_damaged_files_of_masks_and_other_files_are_refused(tmp_path):
    about = {"kind": "snnkit masks", "version": "1", "shapes": '{"a": [3, 3]}'}
    bits = {"a": np.zeros(2, np.uint8)}
    cases = [
        (bits, {"kind": "spikes"}, "holds no masks"),
        (bits, {**about, "version": "2"}, "version 2"),
        ({"a": np.zeros(3, np.uint8)}, about, "damaged"),
        ({"b": np.zeros(2, np.uint8)}, about, "damaged"),
        (bits, {**about, "shapes": "[]"}, "damaged"),
        (bits, {**about, "shapes": "{"}, "damaged"),
    ]
    for arrays, metadata, message in cases:
        write_arrays(tmp_path / "file", arrays, metadata)
        with pytest.raises(FileFormatError, match=message):
            load_masks(tmp_path / "file")
    with pytest.raises(ConfigurationError, match=r"those of a are not"):
        save_masks(tmp_path / "file", {"a": torch.zeros(2)})
