import json
import math

import numpy as np
import pytest
import torch
from core_modules import Nested, constant_gain
from torch import nn

from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import (
    LIFTorch,
    LinearTorch,
    PeriodicExponential,
    RateTorch,
    TorchModule,
    json_to_param,
    param_to_json,
    register_callable,
)
from snnkit.parameters import Constant, SimulationParameter
from snnkit.utilities.errors import ConfigurationError, FileFormatError


def net(has_bias: bool = False, has_rec: bool = False, **neurons: object) -> TorchModule:
    return Sequential(
        LinearTorch((3, 5), has_bias=has_bias),
        LIFTorch(5, **neurons),
        Residual(LinearTorch((5, 5)), LIFTorch(5, has_rec=has_rec)),
        nn.Linear(5, 2),
    )


def same_values(first: TorchModule, second: TorchModule) -> bool:
    return json.dumps(first.to_json()) == json.dumps(second.to_json())


def test_a_fresh_module_becomes_what_was_saved(tmp_path):
    saved = net(dt=2e-3, threshold=0.7, noise_std=0.0, max_spikes_per_dt=3)
    saved(torch.rand(4, 20, 3) * 5)
    saved.save(tmp_path / "net.json")

    loaded = net().load(tmp_path / "net.json")

    assert loaded[1].dt == 2e-3
    assert loaded[1].vmem.shape == (4, 5)
    assert same_values(saved, loaded)
    data = torch.rand(4, 20, 3) * 5
    assert torch.equal(loaded(data)[0], saved(data)[0])


@pytest.mark.parametrize("leak_mode", ["decays", "bitshifts"])
def test_leak_mode_bias_and_recurrence_come_along(tmp_path, leak_mode):
    saved = net(has_bias=True, has_rec=True, leak_mode=leak_mode, spike_generation_fn=PeriodicExponential)
    saved.save(tmp_path / "net.json")

    loaded = net().load(tmp_path / "net.json")

    assert loaded[1].leak_mode == leak_mode
    assert set(loaded[1].parameters(leak_mode)) == set(saved[1].parameters(leak_mode))
    assert list(loaded[1].parameters()) == list(saved[1].parameters())
    assert loaded[0].bias is not None
    data = torch.rand(2, 20, 3) * 5
    assert torch.equal(loaded(data)[0], saved(data)[0])


def test_what_the_saved_module_did_not_have_goes(tmp_path):
    saved = net()
    saved.save(tmp_path / "net.json")

    loaded = net(has_bias=True, has_rec=True, leak_mode="decays").load(tmp_path / "net.json")

    assert loaded[0].bias is None
    assert loaded[2][1].w_rec is None
    assert set(loaded[1].parameters("taus")) == {"tau_mem", "tau_syn"}
    assert loaded[1].parameters("decays") == {}
    assert same_values(saved, loaded)


def test_constants_stay_constants(tmp_path):
    saved = net(threshold=Constant(2.0))
    saved.save(tmp_path / "net.json")

    loaded = net().load(tmp_path / "net.json")

    assert "threshold" not in loaded[1].parameters()
    assert loaded[1].threshold == 2.0


def test_loading_keeps_parameter_objects_and_restores_what_is_trained(tmp_path):
    saved = net()
    saved[0].weight.requires_grad_(False)
    saved.save(tmp_path / "net.json")
    loaded = net()
    weight = loaded[0].weight

    loaded.load(tmp_path / "net.json")

    assert loaded[0].weight is weight
    assert not weight.requires_grad


def test_values_are_exact_and_infinities_survive(tmp_path):
    module = constant_gain()
    module.weight = torch.tensor([[math.pi, math.inf], [-math.inf, math.nan], [1e-38, 1 / 3]])
    module.save(tmp_path / "m.json")

    weight = constant_gain().load(tmp_path / "m.json").weight

    assert torch.equal(weight.nan_to_num(), module.weight.nan_to_num())


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1, "text", math.inf, [1, (2.5, None)], {"a": [1]}, torch.float64,
        torch.device("cpu"), torch.relu, torch.nn.functional.gelu, LIFTorch, PeriodicExponential.apply,
    ],
)  # fmt: skip
def test_plain_values_survive(value):
    assert json_to_param(json.loads(json.dumps(param_to_json(value)))) == value


@pytest.mark.parametrize("dtype", ["float64", "int8", "bool", "float16"])
def test_tensors_and_arrays_survive(dtype):
    array = np.array([[0, 1], [1, 0]], dtype=dtype)
    tensor = torch.from_numpy(array)

    from_array, from_tensor = json_to_param(param_to_json(array)), json_to_param(param_to_json(tensor))

    assert from_array.dtype == array.dtype
    assert np.array_equal(from_array, array)
    assert from_tensor.dtype == tensor.dtype
    assert torch.equal(from_tensor, tensor)


def test_numpy_numbers_become_plain_ones():
    assert param_to_json(np.float32(0.5)) == 0.5
    assert param_to_json(np.int64(3)) == 3


def test_a_function_without_a_name_is_refused_with_its_place_and_the_remedy(tmp_path):
    module = Sequential(LinearTorch((3, 3)), RateTorch(3, activation_func=lambda x, threshold: x))

    with pytest.raises(ConfigurationError, match=r"TorchSequential.1_RateTorch.act_fn.*register_callable"):
        module.save(tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


def test_a_registered_function_is_stored_by_name(tmp_path):
    def double_rectify(x, threshold):
        return 2 * torch.relu(x - threshold)

    register_callable("tests.double_rectify", double_rectify)
    RateTorch(3, activation_func=double_rectify).save(tmp_path / "m.json")

    assert "tests.double_rectify" in (tmp_path / "m.json").read_text()
    assert RateTorch(3).load(tmp_path / "m.json").act_fn is double_rectify


def test_a_registered_surrogate_is_stored_by_name():
    class Surrogate(torch.autograd.Function):
        pass

    register_callable("tests.Surrogate", Surrogate)

    assert param_to_json(Surrogate.apply) == {"callable": "tests.Surrogate.apply"}
    assert json_to_param({"callable": "tests.Surrogate.apply"}) == Surrogate.apply


def test_names_are_not_taken_twice():
    with pytest.raises(ConfigurationError, match="taken"):
        register_callable("torch.relu", torch.tanh)
    with pytest.raises(ConfigurationError, match="taken"):
        register_callable("snnkit.mine", torch.tanh)


@pytest.mark.parametrize(
    "name", ["os.system", "snnkit.nn.modules.json_io.json.loads", "snnkit.nothing.here", "torch.save", "eval"]
)
def test_a_file_cannot_name_any_function(name):
    with pytest.raises(FileFormatError, match="Unknown function"):
        json_to_param({"callable": name})


@pytest.mark.parametrize(
    "content",
    [
        {"tensor": {"dtype": "float32", "shape": [3], "data": [1, 2]}},
        {"tensor": {"dtype": "complex64", "shape": [1], "data": [1]}},
        {"tensor": {"dtype": "float32", "shape": [1], "data": ["text"]}},
        {"array": {"dtype": "O", "shape": [1], "data": [1]}},
        {"dtype": "nn"},
        {"list": 3},
        {"unknown": 3},
        {"float": "text"},
        [1],
        {},
    ],
)
def test_what_is_no_value_is_refused(content):
    with pytest.raises(FileFormatError):
        json_to_param(content)


def _edited(tmp_path, edit):
    """Save a net, change the document, and return the path."""
    path = tmp_path / "net.json"
    net().save(path)
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    return path


def _change_weight(document):
    data = document["module"]["modules"]["0_LinearTorch"]["attributes"]["weight"]["value"]["tensor"]["data"]
    data[0] += 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_change_weight, "damaged"),
        (lambda document: document["module"].pop("shape"), "damaged"),
        (lambda document: document.update(module=3), "damaged"),
        (lambda document: document.update(version=99), "version 99.*reads version 1"),
        (lambda document: document.update(format="other"), "no file of a module"),
    ],
)
def test_damaged_files_are_refused(tmp_path, edit, message):
    path = _edited(tmp_path, edit)

    with pytest.raises(FileFormatError, match=message):
        net().load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "\x00"])
def test_what_is_no_json_document_is_refused(tmp_path, text):
    (tmp_path / "net.json").write_text(text)

    with pytest.raises(FileFormatError):
        net().load(tmp_path / "net.json")
    with pytest.raises(FileFormatError, match="does not exist"):
        net().load(tmp_path / "missing.json")


def test_another_architecture_is_refused_naming_every_difference(tmp_path):
    net().save(tmp_path / "net.json")
    other = Sequential(LinearTorch((3, 5)), LIFTorch(5), nn.Linear(5, 2))

    with pytest.raises(FileFormatError) as error:
        other.load(tmp_path / "net.json")
    assert "TorchSequential.2_Linear: the file has no such submodule" in str(error.value)
    assert "TorchSequential.2_TorchResidual: the module has no such submodule" in str(error.value)


def test_another_shape_is_refused_and_nothing_is_changed(tmp_path):
    saved = Sequential(LinearTorch((3, 5)), nn.Linear(5, 2))
    saved.save(tmp_path / "net.json")
    other = Sequential(LinearTorch((3, 5)), nn.Linear(5, 4))
    before = other.to_json()

    with pytest.raises(FileFormatError, match=r"1_Linear.weight must be of shape \(4, 5\)"):
        other.load(tmp_path / "net.json")
    assert other.to_json() == before


def test_a_value_that_the_module_refuses_changes_nothing(tmp_path):
    saved = net()
    saved[1]._parameters["threshold"].data.fill_(-1)
    saved.save(tmp_path / "net.json")
    other = net()
    before = other.to_json()

    with pytest.raises(FileFormatError, match="not above 0"):
        other.load(tmp_path / "net.json")
    assert other.to_json() == before


def test_an_attribute_that_the_class_cannot_have_is_refused(tmp_path):
    module = LinearTorch((2, 2))
    module.extra = SimulationParameter(3)
    module.save(tmp_path / "m.json")

    with pytest.raises(FileFormatError, match=r"LinearTorch\.extra: the module has no such attribute"):
        LinearTorch((2, 2)).load(tmp_path / "m.json")


def test_containers_of_plain_modules_are_saved_whole(tmp_path):
    saved = Nested()
    saved.save(tmp_path / "m.json")

    assert same_values(saved, Nested().load(tmp_path / "m.json"))


def test_the_documents_of_equal_modules_are_equal():
    assert net().to_json()["format"] == "snnkit.module"
    module = net()
    assert module.to_json() == module.to_json()
