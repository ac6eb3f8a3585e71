"""Spiking neurons over a whole sequence as one autograd node around Triton's kernels; imports Triton."""

from typing import Any

import torch
from torch import Tensor

from snnkit.nn.kernels.arrays import of_first_events, of_recurrent_weights
from snnkit.nn.kernels.lif_function import LIFOptions
from snnkit.nn.kernels.plain_run import gradients_with_graph, plain_run
from snnkit.nn.kernels.triton_launch import Blocks, launch
from snnkit.nn.kernels.triton_leak import leaky_sum
from snnkit.nn.kernels.triton_lif import lif_backward, lif_forward
from snnkit.nn.lif_types import NeuronInputs
from snnkit.nn.surrogates import PeriodicExponential

__all__ = ["TritonLIF"]

SUMMED = ("alpha", "bias", "threshold", "w_ahp", "gamma")
"""The constants with one number for each neuron, in the kernel's order of their sums."""


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


def _constants(inputs: NeuronInputs) -> dict[str, Any]:
    """Return the constants with one number for each neuron or channel."""
    shapes = dict.fromkeys(SUMMED, inputs.vmem.shape[1:])
    if inputs.isyn is not None:
        shapes["beta"] = inputs.isyn.shape[1:]
    found: dict[str, Any] = {"beta": None, "w_rec": _contiguous(inputs.w_rec)}
    for name, shape in shapes.items():
        value = getattr(inputs, name)
        found[name] = None if value is None else value.detach().expand(shape).contiguous()
    return found


def _blocks(inputs: NeuronInputs) -> tuple[Blocks, int]:
    """Return the blocks, and the synapses of a neuron."""
    neurons = inputs.vmem.shape[1]
    synapses = 0 if inputs.isyn is None else inputs.isyn.shape[2]
    return Blocks.of(neurons, synapses, inputs.w_rec is not None), synapses


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone(memory_format=torch.contiguous_format)


class TritonLIF(torch.autograd.Function):
    """Leaky integrate-and-fire neurons over ``(B, T)`` steps, with synapses and adaptation or without.

    ``apply`` takes the tensors of :class:`NeuronInputs` and options; isyn, beta and spikes are None together
    for neurons without synapses, as are iahp, w_ahp and gamma for those without adaptation; spikes may also
    be None without recurrence and adaptation. It returns spikes ``(B, T, N)``, the last vmem, isyn and iahp,
    and, to be recorded, potentials before reset ``(B, T, N)``, charges before their leak ``(B, T, N, S)`` and
    iahp ``(B, T, N)``; None for what is not recorded and for what the neurons don't have. Gradients may flow
    into all of them. Kept for the backward pass are inputs, spikes and potentials; currents are computed
    anew, unless there is recurrence.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run the kernel."""
        inputs, options = NeuronInputs._make(arguments[:-1]), arguments[-1]
        synaptic, adapts = inputs.isyn is not None, inputs.iahp is not None
        charged = synaptic and (
            options.record or (options.train and inputs.w_rec is not None and ctx.needs_input_grad[6])
        )
        kept = {
            "potentials": options.record or options.train,
            "charges": charged,
            "adaptations": adapts and options.record,
        }
        spikes, last, courses = _run_forward(inputs, options, kept)
        ctx.options = options
        if options.train:
            ctx.save_for_backward(*inputs, spikes, courses["potentials"], courses["charges"])
            ctx.set_materialize_grads(False)
        if not options.record:
            return spikes, *last, None, None, None
        return spikes, *last, *courses.values()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the adjoint kernel; with ``create_graph``, torch's operations."""
        *kept, spikes, potentials, charges = ctx.saved_tensors
        inputs, need = NeuronInputs._make(kept), NeuronInputs._make(ctx.needs_input_grad[:-1])
        if torch.is_grad_enabled():
            return (*gradients_with_graph(plain_run(ctx.options), inputs, need, gradients), None)
        return (*_gradients(inputs, need, ctx.options, (spikes, potentials, charges), gradients), None)


def _run_forward(
    inputs: NeuronInputs, options: LIFOptions, kept: dict[str, bool]
) -> tuple[Tensor, list[Tensor | None], dict[str, Tensor | None]]:
    data, constants = inputs.data.detach().contiguous(), _constants(inputs)
    blocks, synapses = _blocks(inputs)
    batch, steps, _ = data.shape
    neurons = inputs.vmem.shape[1]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kept, (batch, steps, neurons))
    if synapses:
        shapes["charges"] = (batch, steps, neurons, synapses)
    courses = {name: data.new_empty(shapes[name]) if wanted else None for name, wanted in kept.items()}
    spikes = data.new_empty(batch, steps, neurons)
    last = [_copied(state) for state in (inputs.vmem, inputs.isyn, inputs.iahp)]
    launch(
        lif_forward, (batch, blocks.programs),
        data, _contiguous(inputs.noise), _contiguous(inputs.spikes),
        *(constants[name] for name in ("alpha", "beta", "bias", "threshold", "w_rec", "w_ahp", "gamma")),
        *last, spikes, *courses.values(), steps, neurons,
        SYNAPSES=synapses, CAP=options.max_spikes, NOISY=inputs.noise is not None,
        RECURRENT=inputs.w_rec is not None, ADAPTS=inputs.iahp is not None,
        KEEP_POTENTIALS=kept["potentials"], KEEP_CHARGES=kept["charges"],
        KEEP_ADAPTATIONS=kept["adaptations"], BLOCK=blocks.neurons, LANES=blocks.lanes,
        TILE=blocks.presynaptic, STAGES=blocks.stages, warps=blocks.warps, exact=True,
    )  # fmt: skip
    return spikes, last, courses


def _gradients(
    inputs: NeuronInputs,
    need: NeuronInputs,
    options: LIFOptions,
    courses: tuple[Tensor, Tensor, Tensor | None],
    gradients: tuple[Tensor | None, ...],
) -> NeuronInputs:
    spikes, potentials, charges = courses
    constants = _constants(inputs)
    summed = [name for name in SUMMED if getattr(need, name)]
    g_spikes, g_vmem, g_isyn, g_iahp, g_potentials, g_charges, g_adaptations = gradients
    dv, dc, dq = (
        _own(g, state) for g, state in ((g_vmem, inputs.vmem), (g_isyn, inputs.isyn), (g_iahp, inputs.iahp))
    )
    if need.beta and charges is None:
        charges = _recovered_charges(inputs, constants["beta"])
    adapting = _recovered_adaptation(inputs, constants, spikes) if summed and dq is not None else None
    recurrent = inputs.w_rec is not None
    dx = torch.empty_like(inputs.data, memory_format=torch.contiguous_format)
    dx_wanted = need.data or recurrent
    du = torch.empty_like(spikes) if need.noise else None
    sums = spikes.new_empty(len(SUMMED), *inputs.vmem.shape) if summed else None
    d_beta = None if dc is None or not need.beta else torch.empty_like(dc)
    arrived = (g_spikes, g_potentials, g_charges, g_adaptations)
    blocks, synapses = _blocks(inputs)
    batch, steps, neurons = spikes.shape
    launch(
        lif_backward, (batch, blocks.programs),
        spikes, _contiguous(inputs.spikes), _contiguous(inputs.vmem), potentials, charges, adapting,
        *(constants[name] for name in ("alpha", "beta", "threshold", "w_rec", "w_ahp", "gamma")),
        *(_contiguous(g) for g in arrived), dv, dc, dq, dx if dx_wanted else None, du, sums, d_beta,
        batch, steps, neurons,
        SYNAPSES=synapses, PERIODIC=options.surrogate is PeriodicExponential, WINDOW=options.window,
        RELATIVE=options.relative, CAP=options.max_spikes, RECURRENT=recurrent, ADAPTS=dq is not None,
        G_SPIKES=g_spikes is not None, G_POTENTIALS=g_potentials is not None, G_CHARGES=g_charges is not None,
        G_ADAPTATIONS=g_adaptations is not None, WRITE_DX=dx_wanted, WRITE_DU=du is not None,
        SUMS=sums is not None, BETA_SUM=d_beta is not None, BLOCK=blocks.neurons, LANES=blocks.lanes,
        TILE=blocks.channels, STAGES=blocks.stages, warps=blocks.warps,
    )  # fmt: skip
    found: dict[str, Tensor | None] = dict.fromkeys((*SUMMED, "beta"))
    if sums is not None:
        found |= {name: _summed(sums[SUMMED.index(name)], getattr(inputs, name)) for name in summed}
    if d_beta is not None:
        found["beta"] = _summed(d_beta, inputs.beta)
    return NeuronInputs(
        data=dx if need.data else None,
        vmem=dv,
        isyn=dc,
        spikes=of_first_events(inputs, dc, dq) if need.spikes else None,
        iahp=dq,
        **found,
        w_rec=of_recurrent_weights(inputs.spikes, spikes, dx) if need.w_rec else None,
        noise=du,
    )


def _own(gradient: Tensor | None, state: Tensor | None) -> Tensor | None:
    """Return a gradient to write on, zeros for none; None for a state that the neurons don't have."""
    if state is None:
        return None
    if gradient is None:
        return torch.zeros_like(state, memory_format=torch.contiguous_format)
    return _copied(gradient)


def _summed(parts: Tensor, like: Tensor) -> Tensor:
    """Sum ``(B, ...)`` over the batch and over what was broadcast from the constant."""
    return parts.sum(0).sum_to_size(like.shape)


def _recovered_charges(inputs: NeuronInputs, beta: Tensor) -> Tensor:
    """Return the charges of neurons without recurrence."""
    charges = torch.empty_like(inputs.data, memory_format=torch.contiguous_format)
    _sum_up(inputs.data, beta.flatten(), inputs.isyn.flatten(1), charges)
    return charges


def _recovered_adaptation(inputs: NeuronInputs, constants: dict[str, Any], spikes: Tensor) -> Tensor:
    """Return the charges of the adaptation, ``(B, T, N)``."""
    before = torch.cat([inputs.spikes.detach()[:, None], spikes[:, :-1]], 1) * constants["w_ahp"]
    charges = torch.empty_like(before)
    _sum_up(before, constants["gamma"], inputs.iahp, charges)
    return charges


def _sum_up(data: Tensor, decay: Tensor, start: Tensor, charges: Tensor) -> None:
    blocks = Blocks.of(data.shape[2], 1, recurrent=False)
    launch(
        leaky_sum, (len(data), blocks.programs),
        _contiguous(data), decay, _copied(start.detach()), charges, None, data.shape[1], data.shape[2],
        KEEP_CHARGES=True, KEEP_CURRENTS=False, BLOCK=blocks.neurons, STAGES=blocks.stages,
        warps=blocks.warps,
    )  # fmt: skip
