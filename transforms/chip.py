"""Training with what a chip computes with: ``for_chip`` makes the whole configuration for one chip."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.graph_of import graph_of
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError

from .calibration import observe_state_peaks
from .chip_graph import Population, Weights, read_populations
from .chip_scale import ChipMember, ChipPopulation, Layer
from .patching import bare_path, make_param_T_network, replace_modules, wrappers_of
from .scaling import ScalePlan
from .wrappers import TWrapper, core_of, own_tensors

__all__ = ["chip_of", "for_chip", "plan_of", "recalibrate", "scales_of", "without_chip"]


def for_chip(
    net: nn.Module,
    chip: str | Chip,
    calibration: Any = None,
    plan: ScalePlan | None = None,
    *,
    inplace: bool = False,
) -> Any:
    """Return ``net`` patched so that it computes with the values that ``chip`` will hold.

    Per neuron, all incoming weights, the threshold and the bias (with the linear layers' biases folded in)
    are rounded to the chip's integers under one scale, the very scale that deployment uses; leaks become bit
    shifts; events per step are capped. Gradients go straight through, so training goes on as before::

        qat = for_chip(net, "imu", calibration=batch)
        ...  # train qat
        deployment = deploy(qat, "imu")

    Transforms that the network has already (pruning, say) apply before.

    Args:
        net: a network with a graph: LinearTorch or ``nn.Linear`` weights, LIFTorch or aLIFTorch neurons.
        chip: name or table entry.
        calibration: ``(batch, time, channels)`` input, from which the plan's peaks are observed.
        plan: weight shifts and peaks, as a deployment chose them; instead of ``calibration``.
        inplace: patch ``net`` itself, with its very parameters; else a deep copy.

    Raises:
        ConfigurationError: the network is patched for a chip already, or holds what no chip scale can be
            given to; both ``calibration`` and ``plan`` are given.
    """
    entry = get_chip(chip)
    if plan is not None and calibration is not None:
        raise ConfigurationError("Give for_chip either calibration data or a plan, not both.")
    if plan_of(net) is not None:
        raise ConfigurationError("This network is patched for a chip already; use remove_T_net first.")
    net = _patch(net if inplace else copy.deepcopy(net), entry, plan or ScalePlan())
    if calibration is not None:
        recalibrate(net, calibration)
    return net


def _patch(net: nn.Module, chip: Chip, plan: ScalePlan) -> nn.Module:
    """Wrap every layer and population of ``net`` itself, and let each population know its wrappers."""
    populations = [_chip_population(net, found, chip, plan) for found in read_populations(graph_of(net))]
    config: dict[str, Any] = {}
    for population in populations:
        for path in dict.fromkeys((population.path, *(layer.path for layer in population.layers))):
            _append(config, path, ChipMember(population, path))
    _refuse_biases(net, populations, chip)
    net = make_param_T_network(net, config, inplace=True)
    wrappers = dict(wrappers_of(net, TWrapper))
    for population in populations:
        paths = (population.path, *(layer.path for layer in population.layers))
        population.wrappers = {path: wrappers[path] for path in paths}
    return net


def recalibrate(net: nn.Module, batch: Any) -> ScalePlan:
    """Observe the peaks of a patched network anew, as training moves its states; return the new plan.

    Raises:
        ConfigurationError: the network is not patched for a chip.
    """
    plan = plan_of(net)
    if plan is None:
        raise ConfigurationError("This network is not patched for a chip: use for_chip first.")
    # Scales change nothing but rounding; with the old peaks the states are as large as with the new.
    plan = replace(plan, peaks=observe_state_peaks(net, batch))
    for population in _chip_populations(net):
        population.plan = plan
    return plan


def plan_of(net: nn.Module) -> ScalePlan | None:
    """Return the plan that a network was patched with for a chip; None if it was not."""
    return next((population.plan for population in _chip_populations(net)), None)


def chip_of(net: nn.Module) -> Chip | None:
    """Return the chip that a network was patched for; None if it was not."""
    return next((population.chip for population in _chip_populations(net)), None)


def scales_of(net: nn.Module) -> dict[str, Tensor]:
    """Return the scale of every neuron of a network patched for a chip: ``{module path: (N,)}`` float64."""
    with torch.no_grad():
        return {population.path: population.scales() for population in _chip_populations(net)}


def without_chip(net: nn.Module) -> Any:
    """Take what ``for_chip`` put into a network out of it, in place, and leave its other transforms."""

    def visit(module: nn.Module) -> nn.Module:
        if not isinstance(module, TWrapper):
            return module
        module.keep_joints(lambda joint: not isinstance(joint, ChipMember))
        return module if module.T_config else core_of(module)

    return replace_modules(net, visit)


def _chip_populations(net: nn.Module) -> list[ChipPopulation]:
    found: dict[int, ChipPopulation] = {}
    for _, wrapper in wrappers_of(net, TWrapper):
        for joint in wrapper.T_config.get("", ()):
            if isinstance(joint, ChipMember):
                found[id(joint.population)] = joint.population
    return list(found.values())


def _chip_population(net: nn.Module, found: Population, chip: Chip, plan: ScalePlan) -> ChipPopulation:
    layers = [_layer(net, weights) for weights in found.weights]
    path = _locate(net, found.path, found.module)
    if path is None:
        raise ConfigurationError(
            f"{found.path}: the graph has these neurons, but the network has no such module."
        )
    return ChipPopulation(chip, plan, path, found.is_output, layers)


def _layer(net: nn.Module, weights: Weights) -> Layer:
    path = _locate(net, weights.path, weights.module)
    modules = {bare_path(name): core_of(module) for name, module in net.named_modules()}
    if path is not None:
        name = "w_rec" if weights.recurrent else "weight"
        tensors = own_tensors(modules[path])
        if name not in tensors:
            raise ConfigurationError(
                f"{path}: its {name} is computed from other parameters ({', '.join(sorted(tensors))}), so no "
                "rounded value can be put in its place. Give for_chip weights that are parameters: of sparse "
                "modules, dense_spiking(net)."
            )
        if weights.recurrent:
            return Layer(path, name, None, False, weights.factors)
        transposed = isinstance(modules[path], nn.Linear)
        return Layer(path, "weight", "bias" if "bias" in tensors else None, transposed, weights.factors)
    # Weights that a container holds stand in its graph as a layer of their own.
    parent, _, name = bare_path(weights.path).rpartition(".")
    if parent in modules and name in own_tensors(modules[parent]):
        return Layer(parent, name, None, False, weights.factors)
    raise ConfigurationError(
        f"{weights.path}: the graph has these weights, but the network has no such module."
    )


def _locate(net: nn.Module, vertex_path: str, module: nn.Module) -> str | None:
    """Return the path in the network of what a vertex holds: the very module, or a wrapper's copy of it."""
    paths = {id(found): bare_path(path) for path, found in net.named_modules()}
    if id(module) in paths:
        return paths[id(module)]
    path = bare_path(vertex_path)
    if path in paths.values():
        return path
    # A wrapper that is the whole network has a graph in which paths start inside it.
    return "" if isinstance(core_of(net), type(module)) and net is not core_of(net) else None


def _append(config: dict[str, Any], path: str, member: ChipMember) -> None:
    place = config
    for part in filter(None, path.split(".")):
        place = place.setdefault(part, {})
    place.setdefault("", []).append(member)


def _refuse_biases(net: nn.Module, populations: list[ChipPopulation], chip: Chip) -> None:
    if chip.has_bias:
        return
    modules = {bare_path(path): core_of(module) for path, module in net.named_modules()}
    biased = []
    for population in populations:
        names = [(population.path, "bias"), *((layer.path, layer.bias) for layer in population.layers)]
        for path, name in names:
            if name is not None and bool(own_tensors(modules[path])[name].any()):
                biased.append(f"{path}.{name}")
    if biased:
        places = ", ".join(biased)
        raise ConfigurationError(f"{chip.title} has no bias, but {places} is not zero. Use has_bias=False.")
