"""The adjoint of the chip in plain torch operations: the definition that the compiled one is held to.

A loop over time follows the recorded integers. Each value is the recorded one, and carries the
gradient of the smooth operation that it stands for (straight-through):

* weights, thresholds, biases: the integer is linear in the float;
* a decay ``v - (v >> dash)`` is ``v * (1 - 2**-dash)``; towards the decay itself, ``i = beta * c``;
* events: the surrogate of the population at the potential before its events, and nothing where more charge is
  left than the chip allows events for;
* a sum that was clamped to 16 bits passes nothing on, nor does a synapse whose charge stands at an end of its
  range, input beyond the limit of events, or copies and own events where their sum is at the limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.surrogates import PeriodicExponential, StepPWL

from .course import Core, Course, Gradients
from .placement import INPUT, Group, Placement

__all__ = ["reference_adjoint"]

LOW, HIGH = -(2.0**15), 2.0**15 - 1


def reference_adjoint(
    placement: Placement,
    core: Core,
    course: Course,
    arriving: Mapping[str, Tensor],
    dtype: torch.dtype,
    *,
    data: bool = False,
    constants: bool = True,
    leaks: bool = True,
) -> Gradients:
    """Return the gradients that ``arriving`` ones cause; arguments as of :func:`.adjoint.adjoint`."""
    with torch.enable_grad():
        leaves = _Leaves.of(core, course, dtype)
        returned = _run(placement, core, course, leaves, dtype)
        total = sum((returned[name] * gradient).sum() for name, gradient in arriving.items())
        if isinstance(total, Tensor) and total.requires_grad:
            total.backward()
    if course.clipped is not None and leaves.data.grad is not None:
        leaves.data.grad[torch.from_numpy(course.clipped)] = 0
    return _gathered(placement, leaves, data)


@dataclass(frozen=True, eq=False)
class _Leaves:
    """What gradients are taken of, in the chip's units; ``hidden`` and ``out`` by name."""

    data: Tensor
    weights: dict[str, Tensor]
    neurons: dict[str, Tensor]

    @classmethod
    def of(cls, core: Core, course: Course, dtype: torch.dtype) -> "_Leaves":
        arrays = core.integers.arrays
        hidden = len(arrays["threshold"])
        weights = {n: torch.from_numpy(core.weights(n)).to(dtype) for n in ("in", "rec", "out")}
        neurons = {}
        for end in ("", "_out"):
            for name in ("threshold", "bias"):
                neurons[name + end] = torch.from_numpy(arrays[name + end]).to(dtype)
            neurons["alpha" + end] = _decay(arrays["dash_mem" + end], dtype)
        two = ("dash_syn", "dash_syn_2")[: weights["in"].shape[2]]
        neurons["beta"] = torch.stack([_decay(arrays[name], dtype) for name in two], dim=1)
        neurons["beta_out"] = _decay(arrays["dash_syn_out"], dtype)[:, None]
        pad = torch.nn.functional.pad
        weights["in"] = pad(weights["in"], (0, 0, 0, hidden - weights["in"].shape[1]))
        weights["out"] = pad(weights["out"], (0, 0, hidden - weights["out"].shape[0], 0))[:, :, None]
        for tensor in (*weights.values(), *neurons.values()):
            tensor.requires_grad_()
        counts = torch.from_numpy(course.counts).to(dtype).requires_grad_()
        return cls(counts, weights, neurons)


def _decay(dash: np.ndarray, dtype: torch.dtype) -> Tensor:
    return 1 - torch.exp2(-torch.from_numpy(dash).to(dtype))


def _change(value: Tensor) -> Tensor:
    """Return zero with the gradient of ``value``."""
    return value - value.detach()


class _Layer:
    """The hidden or the output neurons, from step to step."""

    def __init__(
        self, core: Core, course: Course, leaves: _Leaves, groups: list[Group], dtype: torch.dtype
    ) -> None:
        self.core, self.groups, self.dtype = core, groups, dtype
        self.end = "_out" if groups and groups[0].is_output else ""
        names = (
            ("Isyn",) if self.end or core.integers.arrays["weights_in"].shape[2] == 1 else ("Isyn", "Isyn2")
        )
        recorded = course.recorded
        self.isyn_course = torch.stack(
            [torch.from_numpy(recorded[n + self.end]).to(dtype) for n in names], dim=-1
        )
        self.vmem_course = torch.from_numpy(recorded["Vmem" + self.end]).to(dtype)
        self.total_course = torch.from_numpy(recorded["Spikes" + self.end]).to(dtype)
        self.threshold, self.bias, self.alpha, self.beta = (
            leaves.neurons[name + self.end] for name in ("threshold", "bias", "alpha", "beta")
        )
        state = course.before
        batch = len(course.counts)
        vmem = torch.from_numpy(state.vmem_out if self.end else state.vmem).to(dtype)
        isyn = torch.from_numpy(state.isyn_out[:, None] if self.end else state.isyn).to(dtype)
        self.vmem = vmem.expand(batch, -1)
        self.isyn = isyn.transpose(1, 2).expand(batch, -1, -1)

    def step(self, t: int, delivered: Tensor) -> Tensor:
        """Take what arrives (B, N, S); return the neurons' own events (B, N)."""
        self._charge(t, delivered)
        potential = self._integrate(t)
        events = self._fire(t, potential)
        after = self.vmem_course[t]
        self.vmem = (
            after
            + _change(potential)
            - events.detach() * _change(self.threshold)
            - self.threshold.detach() * _change(events)
        )
        return events

    def _charge(self, t: int, delivered: Tensor) -> None:
        state = self.isyn_course[t]
        beta = self.beta.detach()
        dash = torch.round(-torch.log2(1 - beta))
        free = torch.ones_like(state)
        for end in (LOW, HIGH):
            free = free * (state != end - torch.floor(end * torch.exp2(-dash)))
        charge = self.isyn + delivered
        self.isyn = state + beta * free * _change(charge) + state / beta * _change(self.beta)

    def _integrate(self, t: int) -> Tensor:
        """Return the potential before events, computed as the core does."""
        before, current = self.vmem.detach(), self.isyn.sum(-1)
        share = 1 - self.alpha.detach()
        leak = torch.maximum(torch.floor(before * share), before.clamp(max=1))
        if self.core.chip.core_version == 1:
            exact = before - leak + current.detach()
            kept = biased = through = (exact == exact.clamp(LOW, HIGH)).to(self.dtype)
        else:
            first = current.detach() - leak
            second = first.clamp(LOW, HIGH) + self.bias.detach()
            exact = before + second.clamp(LOW, HIGH)
            kept = (exact == exact.clamp(LOW, HIGH)).to(self.dtype)
            biased = kept * (second == second.clamp(LOW, HIGH))
            through = biased * (first == first.clamp(LOW, HIGH))
        return (
            exact.clamp(LOW, HIGH)
            + kept * _change(self.vmem)
            + through * (_change(current) - share * _change(self.vmem) + before * _change(self.alpha))
            + biased * _change(self.bias)
        )

    def _fire(self, t: int, potential: Tensor) -> Tensor:
        threshold, after = self.threshold.detach(), self.vmem_course[t]
        value = potential.detach()
        slope = self._slopes(value) * (after < threshold)
        events = torch.round((value - after) / threshold)
        return events + slope * _change(potential) - slope * value / threshold * _change(self.threshold)

    def _slopes(self, potential: Tensor) -> Tensor:
        chip, integers = self.core.chip, self.core.integers
        cap = chip.output_event_cap if self.end else chip.hidden_event_cap
        scale = torch.from_numpy(integers.scale_out if self.end else integers.scale).to(self.dtype)
        slopes = torch.zeros_like(potential)
        for group in self.groups:
            here = group.place
            surrogate = PeriodicExponential if group.periodic else StepPWL
            threshold = self.threshold.detach()[here]
            window = group.window * (threshold if group.relative else scale[here])
            slopes[:, here] = surrogate.slope(potential[:, here], threshold, window, cap)
        return slopes


def _run(
    placement: Placement, core: Core, course: Course, leaves: _Leaves, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return all recordings with gradients."""
    groups = placement.groups.values()
    hidden = _Layer(core, course, leaves, [g for g in groups if not g.is_output], dtype)
    output = _Layer(core, course, leaves, [g for g in groups if g.is_output], dtype)
    rows: dict[str, list[Tensor]] = {}
    batch = len(course.counts)
    pending = torch.from_numpy(course.before.spikes).to(dtype).expand(batch, -1)
    for t in range(course.counts.shape[1]):
        delivered = torch.einsum("bi,ins->bns", leaves.data[:, t], leaves.weights["in"])
        delivered = delivered + torch.einsum("bm,mns->bns", pending, leaves.weights["rec"])
        to_output = torch.einsum("bm,mns->bns", pending, leaves.weights["out"])
        pending = _with_copies(placement, core, hidden, t, hidden.step(t, delivered))
        rows.setdefault("Spikes", []).append(pending)
        rows.setdefault("Spikes_out", []).append(output.step(t, to_output))
        for layer in (hidden, output):
            rows.setdefault("Vmem" + layer.end, []).append(layer.vmem)
            for synapse in range(layer.isyn.shape[-1]):
                name = ("Isyn", "Isyn2")[synapse] + layer.end
                rows.setdefault(name, []).append(layer.isyn[..., synapse])
    return {name: torch.stack(values) for name, values in rows.items()}


def _with_copies(placement: Placement, core: Core, hidden: _Layer, t: int, own: Tensor) -> Tensor:
    """Return all events that leave the hidden neurons (B, N), given those that they emit themselves."""
    total = hidden.total_course[t]
    parts = {group.index: own[:, group.place] for group in hidden.groups}
    for group in hidden.groups:
        if group.copied:
            free = total[:, group.place] < core.chip.hidden_event_cap
            change = _change(parts[group.index])
            for source in group.copied:
                change = change + _change(parts[source])
            parts[group.index] = total[:, group.place] + free * change
    changes = torch.zeros_like(total)
    for group in hidden.groups:
        changes[:, group.place] = _change(parts[group.index])
    return total + changes


def _gathered(placement: Placement, leaves: _Leaves, data: bool) -> Gradients:
    def of(tensor: Tensor) -> Tensor:
        return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad

    blocks = []
    for block in placement.blocks:
        target = placement.groups[block.target]
        if block.source == INPUT:
            full = of(leaves.weights["in"])
        else:
            name = "out" if target.is_output else "rec"
            full = of(leaves.weights[name])[placement.groups[block.source].place]
        blocks.append(full[:, target.place, : target.synapses])
    neurons: dict[str, dict[int, Tensor]] = {}
    for group in placement.groups.values():
        for name in ("alpha", "beta", "bias", "threshold"):
            values = of(leaves.neurons[name + ("_out" if group.is_output else "")])[group.place]
            neurons.setdefault(name, {})[group.index] = values
    for index, values in neurons["beta"].items():
        neurons["beta"][index] = values[:, : placement.groups[index].synapses]
    return Gradients(of(leaves.data) if data else None, tuple(blocks), **neurons)
