"""TorchModules are torch modules: everything that torch offers works on them."""

import copy
import pickle

import pytest
import torch
from core_modules import Accumulator, Nested, constant_gain
from torch import nn

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.parameters import Parameter


def spiking_net() -> TorchModule:
    return Sequential(LinearTorch((3, 4)), LIFTorch(4), LinearTorch((4, 2)), LIFTorch(2))


def run_and_record(module: TorchModule) -> torch.Tensor:
    output, _, _ = module(torch.rand(3, 6, 3), record=True)
    output.sum().backward()
    return output


@pytest.mark.parametrize("make", [Nested, spiking_net])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(make, set_to_none):
    module = make()
    run_and_record(module)

    module.zero_grad(set_to_none=set_to_none)

    for parameter in module.parameters().astorch():
        assert parameter.grad is None or not parameter.grad.any()


def test_requires_grad():
    module = Nested()

    assert module.requires_grad_(False) is module
    assert not any(parameter.requires_grad for _, parameter in module.named_parameters())


@pytest.mark.parametrize("make", [Nested, spiking_net])
def test_deepcopy_after_a_recorded_call(make):
    module = make()
    run_and_record(module)

    twin = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in twin.parameters().astorch():
            parameter.add_(1)

    data = torch.rand(3, 6, 3)
    assert not torch.equal(twin(data)[0], module(data)[0])
    assert repr(twin) == repr(module)


@pytest.mark.parametrize("make", [Nested, spiking_net])
def test_pickling_after_a_recorded_call(make):
    module = make()
    run_and_record(module)

    twin = pickle.loads(pickle.dumps(module))

    data = torch.rand(3, 6, 3)
    assert torch.equal(twin(data)[0], module(data)[0])
    assert torch.equal(twin.reset_state()(data)[0], module.reset_state()(data)[0])


def test_pickling_keeps_the_value_of_a_fixed_initialiser_that_is_a_lambda():
    module = Accumulator(3, 2)
    module.level = Parameter(shape=(2,), init_func=lambda shape: torch.full(shape, 3.0))

    twin = pickle.loads(pickle.dumps(module))
    twin.level = torch.zeros(2)

    assert twin.reset_parameters().level.tolist() == [3.0, 3.0]


def test_pickling_tells_of_a_random_initialiser_that_was_lost():
    module = Accumulator(3, 2)
    module.level = Parameter(shape=(2,), init_func=lambda shape: torch.rand(shape) + 0.5)
    generator_before = torch.get_rng_state()

    twin = pickle.loads(pickle.dumps(module))

    assert torch.equal(torch.get_rng_state(), generator_before)
    assert torch.equal(twin.level, module.level)
    with pytest.raises(ValueError, match=r"'level'.*could not be pickled"):
        twin.reset_parameters()


def test_deepcopy_keeps_lambdas_as_initialisers():
    module = Accumulator(3, 2)
    module.level = Parameter(shape=(2,), init_func=lambda shape: torch.rand(shape) + 0.5)

    twin = copy.deepcopy(module)
    before = twin.level.detach().clone()

    assert not torch.equal(twin.reset_parameters().level, before)


def test_state_dict_holds_parameters_and_states():
    assert set(constant_gain().state_dict()) == {"weight", "bias", "total"}


def test_state_dict_with_batched_state_loads_into_a_fresh_module_and_back():
    module, other = Accumulator(3, 2), Accumulator(3, 2)
    fresh = copy.deepcopy(other.state_dict())
    module(torch.rand(4, 5, 3))

    other.load_state_dict(module.state_dict())
    data = torch.rand(4, 5, 3)
    assert torch.equal(other(data)[0], module(data)[0])

    other.load_state_dict(fresh)
    assert other.total.shape == (2,)


def test_state_dict_with_another_shape_of_state_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        Accumulator(3, 2).load_state_dict(Accumulator(3, 5).state_dict())


def test_functional_call_uses_the_parameters_given():
    module = Accumulator(3, 2)
    ones = {name: torch.ones_like(value) for name, value in module.named_parameters()}
    data = torch.rand(1, 5, 3)

    output, _, _ = torch.func.functional_call(module, ones, (data,))

    expected = torch.cumsum(data.sum(-1, keepdim=True) + 1, dim=1).expand(-1, -1, 2)
    assert torch.allclose(output, expected)


def test_functional_call_gives_gradients_through_transformed_parameters():
    net = spiking_net()
    halved = {name: value / 2 for name, value in net.named_parameters()}

    torch.func.functional_call(net, halved, (torch.rand(2, 20, 3) * 10,))[0].sum().backward()

    assert net[0].weight.grad is not None


def test_optimisers_take_astorch_and_train():
    module = Nested()
    optimiser = torch.optim.Adam(module.parameters().astorch(), lr=0.1)
    before = module.first.weight.detach().clone()
    run_and_record(module)

    optimiser.step()

    assert not torch.equal(module.first.weight, before)


def test_dtype_and_mode_reach_every_level():
    module = Nested().double().eval()

    assert module.listed[0].total.dtype == torch.float64
    assert not module.first.training
    assert module(torch.rand(1, 5, 3, dtype=torch.float64))[0].dtype == torch.float64
    assert module.reset_state().first.total.dtype == torch.float64


def test_apply_and_named_modules_walk_through_all():
    module = Nested()
    seen: list[nn.Module] = []

    module.apply(seen.append)

    assert len(seen) == 5
    assert [name for name, _ in module.named_modules()] == ["", "first", "plain", "listed", "listed.0"]


def test_forward_hooks_see_tensors():
    module = Accumulator(3, 2)
    shapes = []
    module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))

    module(torch.ones(1, 5, 3))

    assert shapes == [(1, 5, 2)]


def test_a_plain_module_may_contain_ours():
    class Readout(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = spiking_net()

        def forward(self, data):
            return self.net(data)[0].sum(1)

    module = Readout()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.rand(2, 6, 3)).sum().backward()
    optimiser.step()
    module.zero_grad()

    twin = copy.deepcopy(module)
    twin.load_state_dict(module.state_dict())
    pickle.loads(pickle.dumps(spiking_net()))
    assert len(list(module.modules())) == 6
    assert len(list(module.parameters())) == len(list(module.net.parameters().astorch()))


def test_asking_with_torchs_argument_gives_torchs_answer():
    module = Nested()

    assert len(list(module.parameters(recurse=True))) == 8
    assert list(module.parameters(recurse=False)) == []
    assert list(module.parameters(False)) == []


def test_to_torch_gives_torchs_methods_back():
    module = Nested()
    expected = module(torch.ones(1, 5, 3))[0]
    module.reset_state()

    assert module.to_torch() is module
    assert len(list(module.parameters())) == 8
    assert len(list(module.modules())) == 5
    assert torch.equal(module(torch.ones(1, 5, 3)), expected)
    assert repr(module).startswith("Nested(\n  (first): Accumulator()")


def test_to_torch_may_keep_the_call():
    module = Accumulator(3, 2).to_torch(use_torch_call=False)

    assert len(module(torch.ones(1, 5, 3))) == 3
    assert len(list(module.parameters())) == 3


def test_retain_torch_api_is_to_torch_from_the_start():
    module = Accumulator(3, 2, retain_torch_api=True)

    assert isinstance(module(torch.ones(1, 5, 3)), torch.Tensor)


def test_from_torch_converts_in_place():
    plain = nn.Linear(3, 2)

    converted = TorchModule.from_torch(plain)

    assert converted is plain
    assert isinstance(converted, nn.Linear)
    assert isinstance(converted, TorchModule)
    assert repr(converted) == "Linear  with shape (None,)"
    assert set(converted.parameters()) == {"weight", "bias"}
    assert converted(torch.ones(1, 5, 3))[0].shape == (1, 5, 2)


def test_from_torch_may_retain_the_torch_api():
    converted = TorchModule.from_torch(nn.Linear(3, 2), retain_torch_api=True)

    assert isinstance(converted(torch.ones(5, 3)), torch.Tensor)


def test_converted_modules_can_be_copied_and_pickled():
    converted = TorchModule.from_torch(nn.Linear(3, 2))

    for twin in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        assert isinstance(twin, nn.Linear)
        assert torch.equal(twin(torch.ones(1, 5, 3))[0], converted(torch.ones(1, 5, 3))[0])


def test_from_torch_takes_modules_only():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        TorchModule.from_torch(torch.relu)


def test_star_imports_leave_the_name_torch_alone():
    names: dict[str, object] = {"torch": torch}
    for package in ("modules", "combinators", "networks", "losses"):
        exec(f"from snnkit.nn.{package} import *", names)

    assert names["torch"] is torch
    assert {"LIFTorch", "Sequential", "SynNet", "PeakLoss", "TorchModule"} <= names.keys()
