"""Elements form a group, can be drawn in all the ways there are, and survive files."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnkit.teleport import (
    SAMPLINGS,
    ChannelPart,
    Element,
    TeleportError,
    compose,
    identity,
    inverse,
    load,
    random,
    save,
    symmetries,
    teleport,
)
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3),
    ).double().eval()  # fmt: skip


MODEL = _model()
INPUTS = torch.randn(2, 2, 8, 8, dtype=torch.float64)
FOUND = symmetries(MODEL, INPUTS)
TENSORS = {**dict(MODEL.named_parameters()), **dict(MODEL.named_buffers())}


def _element(seed: int, sampling: str = "inter_landscape") -> Element:
    spread = 3.0 if sampling == "powers_of_two" else 0.9
    generator = torch.Generator().manual_seed(seed)
    return random(FOUND, spread, sampling, generator=generator, permutations=True)


def _distance(one: Element, other: Element) -> float:
    with torch.no_grad():
        new, wanted = (
            {k: v.detach() for k, v in {**TENSORS, **e.apply(TENSORS)}.items()} for e in (one, other)
        )
    return max(
        float((new[k] - wanted[k]).abs().max() / wanted[k].abs().max().clamp(min=1))
        for k in TENSORS
        if TENSORS[k].is_floating_point()
    )


seeds = st.integers(0, 2**31)
samplings = st.sampled_from(SAMPLINGS)


@given(seeds, seeds, seeds, samplings)
@settings(max_examples=15, deadline=None)
def test_composition_is_associative(a, b, c, sampling):
    f, g, h = (_element(seed, sampling) for seed in (a, b, c))
    assert _distance(f.then(g).then(h), f.then(g.then(h))) < 1e-12


@given(seeds, samplings)
@settings(max_examples=15, deadline=None)
def test_an_element_and_its_inverse_cancel(seed, sampling):
    element = _element(seed, sampling)
    for nothing in (element.then(inverse(element)), inverse(element).then(element)):
        assert _distance(nothing, identity(FOUND)) < 1e-12
    assert _distance(inverse(inverse(element)), element) < 1e-12


@given(seeds, seeds)
@settings(max_examples=15, deadline=None)
def test_composing_is_doing_one_after_the_other(a, b):
    first, second = _element(a), _element(b)
    together = compose(second, first)
    assert len(together.parts) == 1
    half = {**TENSORS, **first.apply(TENSORS)}
    whole = {**half, **second.apply(half)}
    new = {**TENSORS, **together.apply(TENSORS)}
    for name, wanted in whole.items():
        assert torch.allclose(new[name].double(), wanted.double(), rtol=1e-12, atol=1e-12), name


@given(seeds, seeds)
@settings(max_examples=10, deadline=None)
def test_powers_of_two_compose_and_invert_without_rounding(a, b):
    first, second = _element(a, "powers_of_two"), _element(b, "powers_of_two")
    assert first.then(first.inverse()).is_identity
    assert first.then(second).then(second.inverse()).then(first.inverse()).is_identity
    for values in first.then(second).scales.values():
        assert torch.equal(values.log2(), values.log2().round())


def test_the_identity_changes_nothing():
    nothing = identity(FOUND)
    assert nothing.is_identity
    assert not nothing.apply(TENSORS)
    assert not nothing.changes()
    assert all(bool((values == 1).all()) for values in nothing.scales.values())
    assert "identity" in repr(nothing)


def _drawn(sampling: str, spread: float, **more: float) -> torch.Tensor:
    linear = nn.Sequential(nn.Linear(3, 4000), nn.Linear(4000, 2))  # scales and signs are free
    found = symmetries(linear, torch.randn(1, 3))
    element = random(found, spread, sampling, generator=torch.Generator().manual_seed(0), **more)
    return element.scales["0.weight"] * element.signs["0.weight"]


@pytest.mark.parametrize(
    ("sampling", "spread", "low", "high"),
    [
        ("intra_landscape", 0.5, 0.5, 1.5),
        ("positive", 0.8, 0.0, 0.8),
        ("negative", 0.8, -0.8, 0.0),
        ("centered", 0.5, 1.5, 2.5),
    ],
)
def test_uniform_samplings(sampling, spread, low, high):
    drawn = _drawn(sampling, spread, center=2.0)
    assert ((low <= drawn) & (drawn <= high) & (drawn != 0)).all()
    assert abs(float(drawn.mean()) - (low + high) / 2) < 0.03
    assert abs(float(drawn.std()) - (high - low) / 12**0.5) < 0.02


def test_inter_landscape_is_half_around_one_and_half_around_minus_one():
    drawn = _drawn("inter_landscape", 0.3)
    assert abs(float((drawn < 0).double().mean()) - 0.5) < 0.04
    assert ((drawn.abs() >= 0.7) & (drawn.abs() <= 1.3)).all()


def test_powers_of_two_are_powers_of_two():
    drawn = _drawn("powers_of_two", 3)
    assert set(drawn.log2().tolist()) == {-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0}


def test_generators_make_elements_repeatable():
    assert _distance(_element(5), _element(5)) == 0
    assert _distance(_element(5), _element(6)) > 0.01


def test_negative_factors_only_where_the_channels_are_odd():
    element = random(FOUND, 0.9, "negative", generator=torch.Generator().manual_seed(0))
    assert (element.signs["7.weight"] == -1).all()  # before tanh
    assert "0.weight" not in element.signs  # before ReLU
    assert (element.scales["0.weight"] > 0).all()
    with pytest.raises(TeleportError, match="not odd"):
        random(FOUND, 0.9, "negative", signs="required")
    assert (random(FOUND, 0.9, "negative", signs="none").signs["7.weight"] == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampling": "intra_landscpe"}, "intra_landscape"),
        ({"cob_range": 0.0}, "positive"),
        ({"cob_range": 1.0}, "below 1"),
        ({"cob_range": float("nan")}, "positive"),
        ({"signs": "odd"}, "where odd"),
    ],
)
def test_impossible_draws_are_refused(arguments, message):
    with pytest.raises(TeleportError, match=message):
        random(FOUND, **arguments)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": {"0.weigth": torch.ones(6)}}, "0.weight"),
        ({"scales": {"0.weight": torch.ones(5)}}, r"\(5,\) instead of \(6,\)"),
        ({"scales": {"0.weight": -torch.ones(6)}}, "not positive"),
        ({"scales": {"0.weight": torch.full((6,), float("inf"))}}, "inf"),
        ({"signs": {"7.weight": torch.full((5,), 2.0)}}, "include 2"),
        ({"permutations": {"0.weight": torch.zeros(6, dtype=torch.long)}}, "once"),
    ],
)
def test_what_is_no_element_is_refused(values, message):
    if "permutations" in values:
        values = {
            "permutations": {FOUND.permutations[0].name: torch.zeros(FOUND.permutations[0].size).long()}
        }
    with pytest.raises(TeleportError, match=message):
        ChannelPart(FOUND, **values)


def test_elements_as_flat_vectors():
    element = random(FOUND, 0.5, generator=torch.Generator().manual_seed(1), signs="none")
    flat = FOUND.flat(element)
    assert flat.shape == (FOUND.n_scales,)
    assert _distance(FOUND.element(flat), element) == 0
    with pytest.raises(TeleportError, match="the model takes"):
        FOUND.element(flat[1:])


def test_logarithms_of_factors_agree_with_the_changes_and_have_gradients():
    flat = FOUND.flat(random(FOUND, 0.5, generator=torch.Generator().manual_seed(1)))
    logs = flat.log().requires_grad_()
    factors = FOUND.log_factors(logs)
    changes = FOUND.element(flat).changes()
    assert set(factors) == {name for name in changes if not name.endswith("running_var")}
    for name, log_factor in factors.items():
        assert torch.allclose(log_factor.exp(), changes[name].factor, rtol=1e-13)
    sum(factor.sum() for factor in factors.values()).backward()
    assert logs.grad is not None
    assert bool(logs.grad.any())


def test_files_hold_elements_to_the_bit(tmp_path):
    element = _element(7)
    path = save(element, tmp_path / "element.safetensors")
    again = load(path, symmetries(_model(), INPUTS))
    for kind in ("scales", "signs", "permutations"):
        one, other = getattr(element, kind), getattr(again, kind)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert save(again, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_elements_of_other_models_are_refused(tmp_path):
    path = save(_element(7), tmp_path / "element.safetensors")
    other = symmetries(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(1, 3))
    with pytest.raises(TeleportError, match="another model"):
        load(path, other)
    with pytest.raises(TeleportError, match="another model"):
        _element(7).then(identity(other))
    with pytest.raises(TeleportError, match="another model"):
        teleport(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), _element(7))
    fixed = symmetries(MODEL, INPUTS, batch_norm="fixed")
    with pytest.raises(TeleportError, match="another model"):
        _element(7).then(identity(fixed))


def _damaged(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]


def test_damaged_files_are_refused_or_read_as_some_element(tmp_path):
    content = save(_element(7), tmp_path / "element.safetensors").read_bytes()
    path = tmp_path / "damaged.safetensors"
    for position in range(0, len(content), 41):
        path.write_bytes(_damaged(content, position))
        try:
            load(path, FOUND)
        except (FileFormatError, TeleportError):
            continue
    for length in (0, 5, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError):
            load(path, FOUND)
    with pytest.raises(FileFormatError, match="does not exist"):
        load(tmp_path / "none.safetensors", FOUND)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"format": "else"}, "no element"),
        ({"parts": ["os.system"]}, "unknown kind"),
        ({"parts": "channels"}, "which parts"),
        ({"parts": []}, "belongs to no part"),
        ({"parts": [3]}, "unknown kind"),
    ],
)
def test_hostile_headers_are_refused(tmp_path, change, message):
    path = save(_element(7), tmp_path / "element.safetensors")
    arrays, metadata = read_arrays(path)
    head = {**json.loads(metadata["element"]), **change}
    write_arrays(path, arrays, {"element": json.dumps(head)})
    with pytest.raises(FileFormatError, match=message):
        load(path, FOUND)


def test_wrong_arrays_are_refused(tmp_path):
    path = save(_element(7), tmp_path / "element.safetensors")
    arrays, metadata = read_arrays(path)
    for name, values in (
        ("0/scale/0.weight", arrays["0/scale/0.weight"] * 0),
        ("0/scale/0.weight", arrays["0/scale/0.weight"].astype("float32")),
        ("0/scale/nothing", arrays["0/scale/0.weight"]),
        ("0/colour/0.weight", arrays["0/scale/0.weight"]),
        ("9/scale/0.weight", arrays["0/scale/0.weight"]),
    ):
        write_arrays(path, {**arrays, name: values}, metadata)
        with pytest.raises(FileFormatError):
            load(path, FOUND)
