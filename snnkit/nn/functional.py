"""The neuron models as pure functions: tensors in, tensors out, nothing kept.

These loops are the reference for every faster kernel. Time steps are read with ``unbind`` and joined with
``stack``: slicing ``data[:, t]`` or writing ``out[:, t]`` would materialise a gradient of the whole sequence
per step and make the backward pass quadratic in time.

Axes: ``B`` batch, ``T`` time, ``N`` neurons, ``S`` synapses per neuron. All functions take and return states
with a batch axis, so a sequence may be cut anywhere: ``f(x)`` equals ``f(x[:, :t])`` followed by
``f(x[:, t:])`` from the state in between.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snnkit.nn.backend import get_backend
from snnkit.nn.delta_modulation import delta_modulate
from snnkit.nn.kernels.coverage import transformation
from snnkit.nn.lif_paths import has_single_node, kernels_for, lif_compiled, lif_single_node
from snnkit.nn.lif_segments import get_segments, lif_in_segments
from snnkit.nn.lif_sequence import sum_synapses, without_single_synapse
from snnkit.nn.lif_types import Adaptation, LIFDynamics, LIFState, SpikeGeneration
from snnkit.nn.single_state import exp_synapse, lif_neuron
from snnkit.utilities.errors import ShapeError

__all__ = [
    "Adaptation",
    "LIFDynamics",
    "LIFState",
    "SpikeGeneration",
    "delta_modulate",
    "exp_synapse",
    "gaussian_noise",
    "lif",
    "lif_neuron",
    "lif_reference",
    "rate",
]

Record = dict[str, Tensor]


def gaussian_noise(
    shape: Sequence[int],
    std: float | Tensor,
    dt: float,
    *,
    like: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor | None:
    """Return ``std * sqrt(dt) * N(0, 1)`` with the dtype and device of ``like``; None, undrawn, if std is 0.

    Args:
        shape: Shape of the noise.
        std: Standard deviation of the integral over one second.
        dt: Time step in seconds.
        like: Gives dtype and device.
        generator: Source of randomness; torch's own by default.
    """
    if not isinstance(std, Tensor) and std == 0:
        return None
    noise = torch.randn(tuple(shape), dtype=like.dtype, device=like.device, generator=generator)
    return noise * (std * dt**0.5)


def lif(
    data: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    noise: Tensor | None = None,
    record: bool = False,
) -> tuple[Tensor, LIFState, Record]:
    """Run leaky integrate-and-fire neurons with exponential synapses, and adaptation if the dynamics have it.

    In each step, in this order: input and recurrent events charge the synapses,
    ``isyn += x + spikes @ w_rec``; states leak, ``vmem *= alpha``, ``isyn *= beta``; the membrane integrates,
    ``vmem += sum_s isyn + iahp + noise + bias``; ``n = spike(vmem)`` events are emitted and
    ``vmem -= n * threshold``. A current thus leaks once before it is first integrated. Adaptation:
    ``iahp = (iahp + spikes * w_ahp) * gamma``, with the events of the step before.

    :mod:`snnkit.nn.backend` chooses what runs them: compiled kernels; torch's operations, for training as
    one autograd node (:mod:`snnkit.nn.lif_sequence`) where the neurons have one of our surrogates and no
    adaptation; or the plain loop of :func:`lif_reference`. The values are the same, up to the order in which
    recurrent events are summed: kernels take them ascending, matrix products in an order of their own.
    :mod:`snnkit.nn.lif_segments` can keep less for the backward pass of long sequences.

    Args:
        data: Input ``(B, T, N * S)``; channels ``n S ... n S + S - 1`` feed neuron ``n``.
        state: State before the first step.
        dynamics: Constants of the population.
        noise: Added to the membrane, ``(B, T, N)``, or None.
        record: Return the course of all states.

    Returns:
        Events ``(B, T, N)``, the state after the last step, and a record (empty unless asked for) of
        ``vmem`` (after reset), ``spikes`` and, with adaptation, ``iahp``, ``(B, T, N)``; ``isyn`` and
        ``irec`` ``(B, T, N, S)``.
    """
    _check_steps(data)
    data = _floating(data, state.vmem)
    steps = get_segments()
    if steps and data.shape[1] > steps and torch.is_grad_enabled() and not record and not transformation():
        return *lif_in_segments(_lif, data, state, dynamics, noise, steps), {}
    return _lif(data, state, dynamics, noise, record)


def _lif(
    data: Tensor, state: LIFState, dynamics: LIFDynamics, noise: Tensor | None, record: bool = False
) -> tuple[Tensor, LIFState, Record]:
    """Run the backend in force."""
    if kernels := kernels_for(data, state, dynamics, noise):
        return lif_compiled(kernels, data, state, dynamics, noise, record=record)
    if torch.is_grad_enabled() and get_backend() != "reference" and has_single_node(dynamics):
        return lif_single_node(data, state, dynamics, noise, record)
    return lif_reference(data, state, dynamics, noise, record)


def _check_steps(data: Tensor) -> None:
    if not data.shape[1]:
        raise ShapeError(f"The input has no time step (shape {tuple(data.shape)}); give at least one.")


def _floating(data: Tensor, like: Tensor) -> Tensor:
    """Return boolean and integer events as numbers of the state's type."""
    return data if data.is_floating_point() or data.is_complex() else data.to(like.dtype)


def lif_reference(
    data: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    noise: Tensor | None = None,
    record: bool = False,
) -> tuple[Tensor, LIFState, Record]:
    """Run the neurons of :func:`lif` as a plain loop of differentiable operations."""
    layout = state.isyn.shape[1:]
    currents, isyn, beta = without_single_synapse(data.unflatten(-1, layout), state.isyn, dynamics.beta)
    trace = _Trace(record)
    spikes, state = _lif_steps(currents, state._replace(isyn=isyn), dynamics, beta, noise=noise, trace=trace)
    return spikes, state._replace(isyn=state.isyn.view(-1, *layout)), _lif_record(trace, spikes, layout)


def _lif_record(trace: "_Trace", spikes: Tensor, layout: Sequence[int]) -> Record:
    course = trace.stacked()
    if not course:
        return {}
    isyn = course["isyn"].view(*spikes.shape[:2], *layout)
    irec = course["irec"].view_as(isyn) if "irec" in course else torch.zeros_like(isyn)
    adaptation = {"iahp": course["iahp"]} if "iahp" in course else {}
    return {"vmem": course["vmem"], "isyn": isyn, "irec": irec, **adaptation, "spikes": spikes}


def _lif_steps(
    currents: Tensor,
    state: LIFState,
    dynamics: LIFDynamics,
    beta: Tensor,
    *,
    noise: Tensor | None,
    trace: "_Trace",
) -> tuple[Tensor, LIFState]:
    vmem, isyn, spikes, iahp = state
    alpha, bias, fire, w_rec = dynamics.alpha, dynamics.bias, dynamics.spike, dynamics.w_rec
    threshold = fire.threshold
    many_synapses = isyn.dim() == 3
    irec = None
    outputs = []
    steps = currents.unbind(1)
    noises = (None,) * len(steps) if noise is None else noise.unbind(1)
    for current, noise_now in zip(steps, noises, strict=True):
        isyn = isyn + current
        if w_rec is not None:
            irec = (spikes @ w_rec).view_as(isyn)
            isyn = isyn + irec
        isyn = isyn * beta
        vmem = vmem * alpha + (sum_synapses(isyn) if many_synapses else isyn)
        if iahp is not None and dynamics.adaptation is not None:
            iahp = (iahp + spikes * dynamics.adaptation.w_ahp) * dynamics.adaptation.gamma
            vmem = vmem + iahp
        if noise_now is not None:
            vmem = vmem + noise_now
        vmem = vmem + bias
        spikes = fire(vmem)
        vmem = vmem - spikes * threshold
        outputs.append(spikes)
        trace.add(vmem=vmem, isyn=isyn, irec=irec, iahp=iahp)
    return torch.stack(outputs, 1), LIFState(vmem, isyn, spikes, iahp)


def rate(
    data: Tensor,
    x: Tensor,
    step: Tensor,
    bias: Tensor,
    *,
    activation: Callable[[Tensor], Tensor],
    w_rec: Tensor | None = None,
    noise: Tensor | None = None,
    record: bool = False,
) -> tuple[Tensor, Tensor, Record]:
    """Run rate neurons by the forward Euler rule.

    In each step ``x += step * (input + noise - x + bias + activation(x) @ w_rec)``, output ``activation(x)``.

    Args:
        data: Input ``(B, T, N)``.
        x: State before the first step, ``(B, N)``.
        step: ``dt / tau``, ``(N,)`` or ``()``.
        bias: ``(N,)`` or ``()``.
        activation: Elementwise function of the state.
        w_rec: Recurrent weights ``(N, N)`` or None.
        noise: ``(B, T, N)`` or None.
        record: Return the course of ``x`` and of the recurrent input.

    Returns:
        Rates ``(B, T, N)``, the last state, and the record (empty unless asked for).
    """
    _check_steps(data)
    drive = data if noise is None else data + noise
    trace = _Trace(record)
    outputs = []
    output = activation(x)
    for current in drive.unbind(1):
        total = current - x + bias
        rec_input = None if w_rec is None else output @ w_rec
        x = x + step * (total if rec_input is None else total + rec_input)
        output = activation(x)
        outputs.append(output)
        trace.add(rec_input=rec_input, x=x)
    records = trace.stacked()
    if record:
        rec_input = records.get("rec_input", torch.zeros_like(records["x"]))
        records = {"rec_input": rec_input, "x": records["x"]}
    return torch.stack(outputs, 1), x, records


class _Trace:
    """Collects named tensors per time step; costs nothing unless enabled."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._steps: dict[str, list[Tensor]] = {}

    def add(self, **tensors: Tensor | None) -> None:
        if self._enabled:
            for name, tensor in tensors.items():
                if tensor is not None:
                    self._steps.setdefault(name, []).append(tensor)

    def stacked(self) -> Record:
        """Return every course with time on axis 1."""
        return {name: torch.stack(steps, 1) for name, steps in self._steps.items()}
