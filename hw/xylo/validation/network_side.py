"""What a network in torch does, population by population, without touching it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from snnkit.nn.modules import LIFBaseTorch, TorchModule
from snnkit.transforms.calibration import like_the_values_of, quiet_copy
from snnkit.utilities.errors import DataError

from ...divergence.trace import LayerTrace, Trace
from ..deployment.float_run import module_path
from ..mapping.mapped_network import MappedNetwork

__all__ = ["network_trace", "populations_of"]

_RECORDED_VALUES = 2**24
"""Values that one run may record."""


def populations_of(net: nn.Module) -> dict[str, LIFBaseTorch]:
    """Return the populations of a network by their path in the bare network, in the order of its modules."""
    found = ((module_path(name), module) for name, module in net.named_modules())
    return {path: module for path, module in found if isinstance(module, LIFBaseTorch)}


def network_trace(
    net: nn.Module,
    counts: np.ndarray,
    paths: Sequence[str],
    delays: Sequence[int],
    *,
    title: str,
    mapped: MappedNetwork | None = None,
    quiet: bool = False,
    precise: bool = False,
    states: bool = True,
    seed: int = 0,
) -> Trace:
    """Run a copy of ``net`` in evaluation mode from rest and record its populations.

    Args:
        net: the network, with a chip's copies of events added where ``mapped`` has aliases.
        counts: (batch, time, Nin).
        paths: populations to record, in the order wanted.
        delays: steps by which this side lags the other in each of them.
        title: what the side is called.
        mapped: the network in a chip's layout.
        quiet: leave noise out.
        precise: compute in float64.
        states: record membranes and synapses too.
        seed: of the noise; torch's own generator is left as it is.
    """
    if not counts.size:
        return _nothing(net, counts, paths, delays, title)
    copied = quiet_copy(net) if quiet else copy.deepcopy(net).eval()
    copied = copied.double() if precise else copied
    kept: dict[str, list[dict[str, np.ndarray]]] = {path: [] for path in paths}
    modules = populations_of(copied)
    for path in paths:
        if path in modules:
            modules[path].register_forward_pre_hook(_start_recording)
            modules[path].register_forward_hook(_keep(kept[path], path, states))
    values = counts.shape[1] * sum(m.n_neurons * 5 for p, m in modules.items() if p in kept)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for share in torch.from_numpy(counts).split(max(1, _RECORDED_VALUES // max(1, values))):
            _reset(copied)
            copied(like_the_values_of(copied, share))
    records = {path: _joined(parts) for path, parts in kept.items() if parts}
    if mapped is not None and any(mapped.aliases):
        _add_copies(records, mapped)
    layers = tuple(
        _layer(path, delay, modules[path], records[path]) for path, delay in zip(paths, delays, strict=True)
    )
    return Trace(title, layers, exact=False)


def _nothing(
    net: nn.Module, counts: np.ndarray, paths: Sequence[str], delays: Sequence[int], title: str
) -> Trace:
    """Return the trace of no samples, or of no steps."""
    modules = populations_of(net)
    empty = {path: np.zeros((*counts.shape[:2], modules[path].n_neurons), np.int32) for path in paths}
    layers = (_layer(p, d, modules[p], {"events": empty[p]}) for p, d in zip(paths, delays, strict=True))
    return Trace(title, tuple(layers), exact=False)


def _reset(net: nn.Module) -> None:
    for _, module in net.named_modules():
        if isinstance(module, TorchModule):
            module.reset_state()


def _start_recording(module: nn.Module, _arguments: Any) -> None:
    module._record = True  # type: ignore[assignment]


def _keep(
    kept: list[dict[str, np.ndarray]], path: str, states: bool
) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, _arguments: Any, _output: Any) -> None:
        record: Mapping[str, Any] = module._record_dict  # type: ignore[assignment]
        if not (record["spikes"].isfinite().all() and record["vmem"].isfinite().all()):
            raise DataError(
                f"{path} of the network has states that are not finite, so there is nothing to compare. "
                "Check its parameters: training may have diverged."
            )
        # Events as they arise; a module's output may have a hop delay.
        found = {"events": np.rint(record["spikes"].detach().cpu().numpy()).astype(np.int32)}
        if states:
            found["Vmem"] = record["vmem"].detach().cpu().numpy()
        kept.append(found)

    return hook


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return parts[0] if len(parts) == 1 else {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _layer(path: str, delay: int, module: LIFBaseTorch, record: Mapping[str, np.ndarray]) -> LayerTrace:
    neurons = record["events"].shape[-1]
    threshold = module.threshold.detach().cpu().double().expand(neurons).numpy()
    states = {name: values for name, values in record.items() if name != "events"}
    return LayerTrace(path, neurons, delay, threshold, record["events"], states)


def _add_copies(records: Mapping[str, dict[str, np.ndarray]], mapped: MappedNetwork) -> None:
    """Add to the populations' events those that aliases copy onto them, as the chip counts them."""
    hidden = [(p, d) for p, d in zip(mapped.populations, mapped.delays, strict=True) if p.layer == "hidden"]
    batch, steps, _ = next(iter(records.values()))["events"].shape
    layout = np.zeros((batch, steps, mapped.shape[1]), np.int32)
    delay_of = np.zeros(mapped.shape[1], int)
    for population, delay in hidden:
        layout[:, :, population.start : population.stop] = records[population.path]["events"]
        delay_of[population.start : population.stop] = delay
    for source, targets in enumerate(mapped.aliases):
        for target in targets:
            # A copy counts in the source's own step on the chip: early, in the target's time.
            early = int(delay_of[target] - delay_of[source])
            layout[:, max(-early, 0) : steps - max(early, 0), target] += layout[
                :, max(early, 0) : steps - max(-early, 0), source
            ]
    for population, _ in hidden:
        records[population.path]["events"] = layout[:, :, population.start : population.stop]
