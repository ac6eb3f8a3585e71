"""Matrices as parts of elements: the group, files, what is refused; gains folded; heads and gates."""

import pytest
import torch
from attention_models import Attention, Block, GatedMlp, LanguageModel, VisionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport import (
    Element,
    TeleportError,
    compose,
    load,
    random,
    save,
    symmetries,
    teleport,
)
from snnkit.teleport.matrices import (
    MatrixPart,
    fold_gains,
    matrix_part,
    matrix_sites,
    random_matrices,
)
from snnkit.teleport.matrices.sampling import haar, invertible, rotation_about_ones
from snnkit.utilities.errors import ConfigurationError, FileFormatError

SEQUENCE = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def prepared(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.double().eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def difference(model, x, before):
    return float((model(x) - before).detach().norm() / before.detach().norm())


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 12), condition=st.floats(1.0, 100.0), seed=st.integers(0, 1000))
def test_sampled_matrices_are_in_their_groups(size, condition, seed):
    eye = torch.eye(size, dtype=torch.float64)
    assert torch.linalg.cond(invertible(size, condition, seeded(seed))) <= condition * (1 + 1e-9)
    rotation = haar(size, seeded(seed))
    assert torch.allclose(rotation @ rotation.T, eye, atol=1e-13)
    about = rotation_about_ones(size, seeded(seed))
    assert torch.allclose(about @ about.T, eye, atol=1e-13)
    assert torch.allclose(about.sum(1), torch.ones(size, dtype=torch.float64), atol=1e-13)


def test_uniform_orthogonal_matrices_are_uniform():
    draws = torch.stack([haar(3, seeded(seed)) for seed in range(2000)])
    # Every entry has mean 0 and variance 1/3; standard errors are 0.013 and 0.007.
    assert draws.mean(0).abs().max() < 0.06
    assert (draws.square().mean(0) - 1 / 3).abs().max() < 0.035
    assert (torch.linalg.det(draws) > 0).double().mean().sub(0.5).abs() < 0.06


def test_condition_below_one_is_refused():
    with pytest.raises(ConfigurationError, match="at least 1"):
        invertible(3, 0.5)


def test_same_seed_draws_the_same_matrices():
    sites = matrix_sites(prepared(Attention()), SEQUENCE)
    one, other = (random_matrices(sites, generator=seeded(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.matrices, other.matrices, strict=True))


def test_elements_of_matrices_form_a_group_with_those_of_channels():
    model = prepared(Block(nn.RMSNorm))
    found, sites = symmetries(model, SEQUENCE), matrix_sites(model, SEQUENCE)
    matrices = Element(found, (random_matrices(sites, generator=seeded(1)),))
    channels = random(found, generator=seeded(2), permutations=True)
    again = Element(found, (random_matrices(sites, generator=seeded(3)),))
    product = compose(again, compose(channels, matrices))
    before = model(SEQUENCE)
    old = {name: t.detach().clone() for name, t in named_tensors(model).items()}
    teleport(model, product)
    assert difference(model, SEQUENCE, before) <= 1e-12
    teleport(model, product.inverse())
    for name, tensor in named_tensors(model).items():
        assert torch.allclose(tensor, old[name], rtol=1e-11, atol=1e-12)


def test_matrices_after_each_other_are_one_part():
    model = prepared(Attention())
    found, sites = symmetries(model, SEQUENCE), matrix_sites(model, SEQUENCE)
    one, other = (random_matrices(sites, generator=seeded(seed)) for seed in (1, 2))
    both = Element(found, (one, other))
    assert len(both.parts) == 1
    for product, first, second in zip(both.parts[0].matrices, one.matrices, other.matrices, strict=True):
        assert torch.equal(product, second @ first)
    assert one.condition <= 4 * (1 + 1e-9)


def test_file_holds_matrices_to_the_bit(tmp_path):
    model = prepared(LanguageModel(nn.RMSNorm))
    fold_gains(model, TOKENS)
    found = symmetries(model, TOKENS)
    part = random_matrices(matrix_sites(model, TOKENS), generator=seeded())
    element = Element(found, (part,)).then(random(found, generator=seeded()))
    save(element, tmp_path / "element.safetensors")
    loaded = load(tmp_path / "element.safetensors", found)
    tensors = {name: t.detach() for name, t in named_tensors(model).items()}
    expected, got = element.apply(tensors), loaded.apply(tensors)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_damaged_matrices_are_refused():
    model = prepared(Attention())
    found = symmetries(model, SEQUENCE)
    tensors = random_matrices(matrix_sites(model, SEQUENCE), generator=seeded()).to_tensors()
    text = bytes(tensors["sites"].tolist())
    for old, new in ((b'"axis": 0', b'"axis": 7'), (b"[[0, 1", b"[[0, 0"), (b'"linear"', b'"lunear"')):
        assert old in text
        damaged = torch.tensor(list(text.replace(old, new)), dtype=torch.uint8)
        with pytest.raises(FileFormatError, match="damaged"):
            MatrixPart.from_tensors(found, tensors | {"sites": damaged})
    with pytest.raises(FileFormatError):
        MatrixPart.from_tensors(found, {"sites": tensors["sites"]})


def test_matrices_outside_of_the_group_are_refused():
    model = prepared(Attention(fused=False, query_norm=True))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.ones_(parameter)
    sites = matrix_sites(model, SEQUENCE)
    orthogonal, linear = sites[0], next(site for site in sites if site.kind == "linear")
    stretched = torch.diag(torch.tensor([1.0, 2.0, 1.0, 1.0]))
    with pytest.raises(TeleportError, match="not orthogonal"):
        matrix_part(sites, {orthogonal.name: stretched})
    with pytest.raises(TeleportError, match="rank 3"):
        matrix_part(sites, {linear.name: torch.diag(torch.tensor([1.0, 0.0, 1.0, 1.0]))})
    with pytest.raises(TeleportError, match=r"\(4, 4\) is needed"):
        matrix_part(sites, {linear.name: torch.eye(3)})
    with pytest.raises(TeleportError, match=r"q\.weight"):
        matrix_part(sites, {"q.weigth[0]": torch.eye(4)})
    with pytest.raises(TeleportError, match="linear"):
        random_matrices(sites, kinds=("lineal",))
    assert matrix_part(sites, {linear.name: stretched}).condition == 2.0


def test_gains_that_were_trained_since_are_noticed():
    model = prepared(LanguageModel(nn.RMSNorm))
    fold_gains(model, TOKENS)
    found = symmetries(model, TOKENS)
    element = Element(found, (random_matrices(matrix_sites(model, TOKENS), generator=seeded()),))
    nn.init.normal_(model.blocks[1].norm2.weight)
    old = {name: t.detach().clone() for name, t in named_tensors(model).items()}
    with pytest.raises(TeleportError, match=r"blocks\.1\.norm2\.weight must have equal elements"):
        teleport(model, element)
    assert all(torch.equal(tensor, old[name]) for name, tensor in named_tensors(model).items())


@pytest.mark.parametrize(
    ("model", "x", "n"),
    [
        (LanguageModel(nn.RMSNorm), TOKENS, 5),
        (LanguageModel(nn.LayerNorm), TOKENS, 5),
        (VisionModel(nn.LayerNorm), IMAGES, 6),
    ],
    ids=["rms norm", "layer norm", "layer scale"],
)
def test_folding_gains_keeps_the_function_and_frees_the_stream(model, x, n):
    model = prepared(model)
    before = model(x)
    assert all(site.kind == "linear" for site in matrix_sites(model, x))
    folding = fold_gains(model, x)
    assert len(folding.folded) == n
    assert folding.left == {}
    for name in folding.folded:
        assert bool((named_tensors(model)[name] == 1).all())
    assert difference(model, x, before) <= 1e-13
    assert any(site.kind != "linear" for site in matrix_sites(model, x))
    assert "-> 1, into" in str(folding)
    assert fold_gains(model, x).changed == ()


def test_gain_before_tied_weights_stays_and_says_why():
    model = prepared(LanguageModel(nn.RMSNorm, tied=True))
    before = model(TOKENS)
    folding = fold_gains(model, TOKENS)
    assert set(folding.left) == {"norm.weight"}
    assert folding.left["norm.weight"]
    assert len(folding.folded) == 4
    assert difference(model, TOKENS, before) <= 1e-13


def test_gain_of_zero_folds_into_columns_of_zero():
    model = prepared(LanguageModel(nn.RMSNorm))
    with torch.no_grad():
        model.norm.weight[2] = 0.0
    before = model(TOKENS)
    assert "norm.weight" in fold_gains(model, TOKENS).folded
    assert not model.head.weight[:, 2].any()
    assert difference(model, TOKENS, before) <= 1e-13


def test_heads_may_change_places():
    model = prepared(Attention(fused=False, fast=True))
    found = symmetries(model, SEQUENCE)
    heads = [freedom.name for freedom in found.permutations if freedom.name.endswith(" heads")]
    element = found.element(permutations={heads[0]: torch.tensor([1, 0])})
    before, rows = model(SEQUENCE), model.q.weight.detach().clone()
    teleport(model, element)
    assert torch.equal(model.q.weight, torch.cat([rows[4:], rows[:4]]))
    assert difference(model, SEQUENCE, before) <= 1e-14


def test_gated_mlp_scales_its_upper_branch_with_sign():
    model = prepared(GatedMlp())
    found = symmetries(model, SEQUENCE)
    assert {freedom.name: freedom.size for freedom in found.scales} == {"up.weight": 12}
    assert {freedom.name: freedom.size for freedom in found.signs} == {"up.weight": 12}
    before, gate = model(SEQUENCE), model.gate.weight.detach().clone()
    teleport(model, random(found, 0.9, "inter_landscape", generator=seeded()))
    assert torch.equal(model.gate.weight, gate)
    assert difference(model, SEQUENCE, before) <= 1e-13
