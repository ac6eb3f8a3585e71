"""The models of the experiments: shapes, sizes of the papers, names."""

import pytest
import torch
from torch import nn

from snnkit.experiments.models import ACTIVATIONS, MODELS, activation, build_model, model_arguments
from snnkit.utilities.errors import ConfigurationError

PUBLISHED = {  # Parameters for 1,000 classes of ImageNet, as the papers' reference implementations have them.
    "ResNet18": 11_689_512,
    "ResNet34": 21_797_672,
    "ResNet50": 25_557_032,
    "ResNet101": 44_549_160,
    "ResNet152": 60_192_808,
    "ResNeXt50": 25_028_904,
    "WideResNet50_2": 68_883_240,
    "DenseNet121": 7_978_856,
    "DenseNet169": 14_149_480,
    "DenseNet201": 20_013_928,
    "MobileNet": 3_504_872,
}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize("name", MODELS)
def test_small_models_take_small_images(name, shape):
    model = build_model(name, shape, 7, small=True)
    scores = model(torch.randn(2, *shape))
    assert scores.shape == ((2, 7, *shape[1:]) if name == "UNet" else (2, 7))
    scores.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_have_the_published_number_of_parameters(name):
    with torch.device("meta"):
        model = build_model(name, (3, 224, 224), 1000, {"large_images": True})
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


def test_wide_resnet_28_10_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build_model("WideResNet", (3, 32, 32), 10, {"depth": 28, "widen": 10})
    assert sum(p.numel() for p in model.parameters()) == 36_479_194


def test_convolutions_of_vgg_are_as_many_as_its_name_says():
    for depth in (11, 13, 16, 19):
        model = build_model(f"VGG{depth}_bn", (3, 32, 32), 10, small=True)
        weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        assert len(weighted) == depth - 3


def test_equal_generators_give_equal_weights_and_leave_torch_alone():
    state = torch.random.get_rng_state()
    first, second, other = (
        build_model("ResNet18", (1, 8, 8), 10, small=True, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_arguments_win_over_small_and_names():
    model = build_model("MLP", (1, 8, 8), 10, {"hidden": [5]}, small=True)
    assert [layer.out_features for layer in model.layers] == [5]
    assert model_arguments("VGG16_bn")["depth"] == 16
    assert model_arguments("VGG16_bn")["batch_norm"] is True


def test_the_relu_family_is_homogeneous_and_tanh_is_odd():
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    for name in ("relu", "leaky_relu", "identity"):
        torch.testing.assert_close(activation(name)(2.5 * x), 2.5 * activation(name)(x), rtol=1e-12, atol=0)
    torch.testing.assert_close(activation("tanh")(-x), -activation("tanh")(x), rtol=1e-12, atol=0)
    assert {"elu", "sigmoid", "gelu"} <= set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("ResNet19", {}, "ResNet1"),
        ("MLP", {"hiden": [3]}, "'hidden'"),
        ("VGG", {"depth": 12}, "11, 13, 16, 19"),
        ("ResNet18", {"groups": 2}, "bottlenecks"),
        ("WideResNet", {"depth": 12}, "multiple of 6"),
        ("ViT", {"patch": 3}, "divides"),
        ("ViT", {"heads": 5}, "divide"),
        ("MLP", {"activation": "rely"}, "'relu'"),
    ],
)
def test_wrong_models_are_told_what_to_mend(name, arguments, told):
    with pytest.raises(ConfigurationError, match=told):
        build_model(name, (3, 32, 32), 10, arguments)


def test_vit_refuses_images_that_are_not_square():
    with pytest.raises(ConfigurationError, match="square"):
        build_model("ViT", (1, 8, 16), 10)
