"""The autograd node of a chip-exact network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnkit.nn.backend import kernels_wanted

from .course import Core, Course, Gradients
from .leaks import leak_slope
from .placement import Group, Placement, Selection

__all__ = ["ExactFunction", "Forward"]


@dataclass(frozen=True, eq=False)
class Forward:
    """One call, with all its forward values already known.

    Attributes:
        placement: where parameters sit.
        core: the program.
        course: what happened.
        returned: names of the recordings that are returned.
    """

    placement: Placement
    core: Core
    course: Course
    returned: tuple[str, ...]


class ExactFunction(torch.autograd.Function):
    """Returns recordings of a run ``(B, T, neurons)`` as floats; backward, the adjoint of the chip.

    ``apply`` takes the forward values, the type of floats, the input ``(B, T, Nin)``; then for each
    population the decays of its membrane ``(N,)`` and synapses ``(N, S)``; then ``placement.keys``' values.
    """

    @staticmethod
    def forward(ctx: Any, forward: Forward, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return what was recorded."""
        ctx.forward, ctx.dtype = forward, dtype
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        recorded = forward.course.recorded
        return tuple(torch.from_numpy(recorded[name]).to(dtype).transpose(0, 1) for name in forward.returned)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        """Run the adjoint, and take its gradients from the chip's units to those of the parameters."""
        forward: Forward = ctx.forward
        _, *parameters = ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        arriving = {
            name: gradient.to(ctx.dtype).transpose(0, 1).contiguous()
            for name, gradient in zip(forward.returned, gradients, strict=True)
            if gradient is not None
        }
        count = 2 * len(forward.placement.groups)
        found = _adjoint()(
            forward.placement,
            forward.core,
            forward.course,
            arriving,
            ctx.dtype,
            data=needs[0],
            constants=any(needs[1:]),
            leaks=any(needs[2 : 1 + count : 2]),
        )
        leaks = _of_leaks(forward, found, parameters[:count], needs[1 : 1 + count])
        values = _of_values(forward, found, parameters[count:], needs[1 + count :])
        return (None, None, found.data, *leaks, *values)


def _adjoint() -> Callable[..., Gradients]:
    """Return the compiled adjoint, or the plain one if the backend of neurons is torch's."""
    if kernels_wanted(None):
        from .adjoint import adjoint

        return adjoint
    from .reference import reference_adjoint

    return reference_adjoint


def _of_leaks(
    forward: Forward, found: Gradients, decays: list[Tensor], needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Return the gradients of the float decays, two for each population."""
    arrays, chip = forward.core.integers.arrays, forward.core.chip
    result: list[Tensor | None] = []
    for place, group in enumerate(forward.placement.groups.values()):
        membrane, synaptic = decays[2 * place : 2 * place + 2]
        end = "_out" if group.is_output else ""
        result += [None, None]
        if needs[2 * place]:
            dash = torch.from_numpy(arrays[f"dash_mem{end}"][group.place])
            result[-2] = found.alpha[group.index] * leak_slope(membrane, dash, chip)
        if needs[2 * place + 1]:
            result[-1] = found.beta[group.index] * leak_slope(synaptic, _dashes(forward.core, group), chip)
    return result


def _dashes(core: Core, group: Group) -> Tensor:
    """Return the dashes of a population's synapses (N, S)."""
    names = ("dash_syn_out",) if group.is_output else ("dash_syn", "dash_syn_2")[: group.synapses]
    return torch.stack([torch.from_numpy(core.integers.arrays[name][group.place]) for name in names], dim=1)


def _of_values(
    forward: Forward, found: Gradients, parameters: list[Tensor], needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Return the gradients of the parameters, in the order of the placement's keys.

    Rounding is straight through: an integer ``round(w * scale / 2**shift)``, shifted back, stands for
    ``w * scale``.
    """
    keys = forward.placement.keys
    total = {
        key: parameter.new_zeros(parameter.shape)
        for key, parameter, needed in zip(keys, parameters, needs, strict=True)
        if needed
    }

    def add(selection: Selection, gradient: Tensor) -> None:
        if selection.key in total:
            flat = torch.from_numpy(selection.back(gradient.numpy()))
            total[selection.key] += flat.view(total[selection.key].shape).to(total[selection.key].dtype)

    for block, gradient in zip(forward.placement.blocks, found.blocks, strict=True):
        if block.weights.key in total:
            scale = _scale(forward, forward.placement.groups[block.target], gradient.dtype)
            add(block.weights, gradient * (block.factor * scale)[:, None])
    for group in forward.placement.groups.values() if found.threshold else ():
        scale = _scale(forward, group, found.threshold[group.index].dtype)
        add(group.threshold, found.threshold[group.index] * scale * _trained_threshold(forward, group))
        if forward.core.chip.has_bias:
            bias = found.bias[group.index] * scale
            add(group.bias, bias)
            # What a constant synaptic input settles at; see fold_bias.
            folded = bias[:, None] * (torch.exp2(_dashes(forward.core, group).to(bias.dtype)) - 1)
            for selection in group.synaptic_bias:
                add(selection, folded)
    return [total.get(key) for key in keys]


def _scale(forward: Forward, group: Group, dtype: torch.dtype) -> Tensor:
    integers = forward.core.integers
    scale = (integers.scale_out if group.is_output else integers.scale)[group.place]
    return torch.from_numpy(scale).to(dtype)


def _trained_threshold(forward: Forward, group: Group) -> Tensor:
    """Return where the threshold is no end of its range: such as stands for one that is never reached."""
    chip = forward.core.chip
    values = forward.core.integers.arrays["threshold_out" if group.is_output else "threshold"][group.place]
    return torch.from_numpy((values > 1) & (values < chip.max_threshold))
