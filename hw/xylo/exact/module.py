"""The module whose forward pass is the chip's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.graph_of import graph_of
from snnkit.nn.modules import TorchModule
from snnkit.nn.modules.declarations import Fill
from snnkit.nn.modules.trees import TorchModuleParameters
from snnkit.parameters import State
from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..deployment.float_run import Calibration
from ..deployment.quantising import quantise
from ..mapping.lowering import inspect_network
from ..mapping.mapped_network import MappedNetwork
from ..simulator.program import program_of
from ..simulator.rasters import read_raster
from ..simulator.run import CoreState, run_program
from ..simulator.xylo_sim import OutputMode, XyloSim
from ..specification.core import SHIFTS, Specification
from .course import RECORDED, Core, Course
from .function import ExactFunction, Forward
from .parameters import Values, check_values, core_of, current_values, mapped_values
from .placement import Placement
from .replay import last_state, read_recording

if TYPE_CHECKING:
    from snnkit.dag import DagModule

__all__ = ["ChipExact"]

_STATES = ("isyn", "vmem", "spikes", "isyn_out", "vmem_out")
_OUTPUT = {"Spike": "Spikes_out", "Isyn": "Isyn_out", "Vmem": "Vmem_out"}


class ChipExact(TorchModule):
    """A network whose forward pass is the integer arithmetic of its chip, bit for bit.

    Made by :func:`snnkit.hw.xylo.chip_exact`.

    Attributes:
        net: the network whose parameters are trained, in its own float units.
    """

    net: nn.Module
    isyn: Any
    vmem: Any
    spikes: Any
    isyn_out: Any
    vmem_out: Any

    def __init__(
        self,
        net: nn.Module,
        placement: Placement,
        template: MappedNetwork,
        plan: ScalePlan,
        output_mode: OutputMode = "Spike",
    ) -> None:
        n_in, n_hidden, n_out = template.shape
        super().__init__((n_in, n_out), spiking_input=True, spiking_output=output_mode == "Spike")
        self.net = net
        self._placement, self._template, self._output_mode = placement, template, output_mode
        zero = Fill(0.0)
        self.isyn = State(init_func=zero, shape=(template.n_synapses, n_hidden))
        self.vmem = State(init_func=zero, shape=(n_hidden,))
        self.spikes = State(init_func=zero, shape=(n_hidden,))
        self.isyn_out = State(init_func=zero, shape=(n_out,))
        self.vmem_out = State(init_func=zero, shape=(n_out,))
        floats = (value for value in net.state_dict().values() if value.is_floating_point())
        self.to(next(floats).dtype)
        # The plan decides the program as much as the parameters do, so it is saved with them.
        for name, size in (("hidden", n_hidden), ("output", n_out)):
            self.register_buffer(f"_peaks_{name}", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("_shifts", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("_headroom", torch.ones((), dtype=torch.float64))
        self._set_plan(plan)

    def _set_plan(self, plan: ScalePlan) -> None:
        unknown = [path for path in plan.peaks if path not in {p.path for p in self._template.populations}]
        if unknown:
            known = [population.path for population in self._template.populations]
            raise ConfigurationError(f"peaks: {unknown_key_message('population', unknown[0], known)}")
        for population in self._template.populations:
            peaks = self._state_buffer(f"_peaks_{population.layer}")[population.start : population.stop]
            peaks.copy_(plan.peaks.get(population.path, torch.zeros(())))
        self._state_buffer("_shifts").copy_(torch.tensor([getattr(plan, name) for name in SHIFTS]))
        self._state_buffer("_headroom").fill_(plan.headroom)

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over event counts ``(batch, time, Nin)``; return ``(batch, time, Nout)``.

        Raises:
            ConfigurationError: the module is not in main memory, or not in float32 or float64.
            DataError: counts that are not whole numbers from 0 to 255.
            ParameterError: parameters that have no integers: not finite, or thresholds of 0 or less.
        """
        data, values, core = self._begin(data)
        trained = torch.is_grad_enabled() and (data.requires_grad or self._is_trained(values))
        course, after = self._simulate(core, data, everything=trained or self._record)
        self._keep_core_state(after)
        return self._returned(data, values, Forward(self._placement, core, course, self._names()))

    def _begin(self, data: Tensor) -> tuple[Tensor, Values, Core]:
        """Return the input with a batch axis, the parameters as they are now, and their program."""
        if self.vmem.device.type != "cpu":
            raise ConfigurationError(
                f"{self._label} computes on the CPU, but is on {self.vmem.device}: use exact.to('cpu')."
            )
        if self.vmem.dtype not in {torch.float32, torch.float64}:
            raise ConfigurationError(
                f"{self._label} is in {self.vmem.dtype}, which does not hold the chip's 16-bit states: use "
                "exact.float()."
            )
        data, _ = self._auto_batch(data)
        values = current_values(self.net, self._placement, deterministic=not self.training)
        check_values(values, self._placement)
        return data, values, core_of(mapped_values(self._placement, self._template, values), self.plan)

    def _is_trained(self, values: Values) -> bool:
        tensors = (*values.tensors.values(), *values.membrane.values(), *values.synaptic.values())
        return any(tensor.requires_grad for tensor in tensors)

    def _names(self) -> tuple[str, ...]:
        """Return the recordings that a call returns: the output, and if wanted all."""
        output = _OUTPUT[self._output_mode]
        if not self._record:
            return (output,)
        return tuple(name for name in RECORDED if name != "Isyn2" or self._template.n_synapses == 2)

    def _simulate(self, core: Core, data: Tensor, everything: bool) -> tuple[Course, CoreState]:
        raster = read_raster(data, self._template.shape[0])
        cap = np.uint8(core.chip.input_event_cap)
        counts = np.minimum(raster.counts, cap)
        clipped = raster.counts > cap
        shifts = {name: getattr(core.plan, name) for name in SHIFTS}
        program = program_of(core.chip, core.integers.arrays | shifts, core.aliases)
        wanted = set(RECORDED) if everything else {_OUTPUT[self._output_mode]}
        if self._template.n_synapses == 1:
            wanted.discard("Isyn2")
        before = self._core_state(len(counts))
        run = run_program(program, counts, before, wanted, time_first=True)
        course = Course(counts, clipped if clipped.any() else None, before, run.recorded)
        return course, run.state

    def _core_state(self, batch: int) -> CoreState:
        states = self._states_for(batch, *_STATES)
        return CoreState(*(state.detach().cpu().numpy().astype(np.int16) for state in states))

    def _keep_core_state(self, after: CoreState) -> None:
        like = self.vmem
        self._keep_states(**{name: torch.from_numpy(array).to(like) for name, array in vars(after).items()})

    def _returned(self, data: Tensor, values: Values, forward: Forward) -> Tensor:
        leaks = [
            leak
            for index in self._placement.groups
            for leak in (values.membrane[index], values.synaptic[index])
        ]
        tensors = (data, *leaks, *(values.tensors[key] for key in self._placement.keys))
        found = ExactFunction.apply(forward, self.vmem.dtype, *tensors)
        recorded = dict(zip(forward.returned, found, strict=True))
        if self._record:
            self._record_dict = {name: value for name, value in recorded.items() if name != "Spikes_out"}
        return recorded[_OUTPUT[self._output_mode]]

    def replay(self, data: Tensor, recorded: Mapping[str, Any]) -> Tensor:
        """Return a run that was recorded elsewhere, on hardware say, with this module's gradients.

        Forward values are the recorded ones. Gradients are those of the chip's arithmetic at the recorded
        states, with this module's parameters as they are now. As in a call, the run begins in the module's
        state and leaves it in its last one.

        Args:
            data: ``(batch, time, Nin)`` event counts that went in.
            recorded: ``(batch, time, neurons)`` whole numbers, arrays or tensors, under the simulator's
                names: ``Spikes_out``, ``Spikes``, ``Vmem``, ``Isyn``, ``Isyn2``, ``Vmem_out``, ``Isyn_out``.
                What is missing is simulated.

        Returns:
            The output, as of a call.

        Raises:
            ConfigurationError: a name that is no recording, or as of a call.
            ShapeError: a recording of another shape.
            DataError: a recording with numbers that the chip does not have.
        """
        data, values, core = self._begin(data)
        given = read_recording(recorded, data.shape[:2], self._template)
        course, after = self._simulate(core, data, everything=True)
        course = replace(course, recorded={**course.recorded, **given})
        self._keep_core_state(last_state(course, after))
        return self._returned(data, values, Forward(self._placement, core, course, self._names()))

    def recalibrate(self, batch: Any) -> ScalePlan:
        """Observe the peaks of the states anew, as training moves them; return the new plan.

        Args:
            batch: event counts ``(batch, time, Nin)``, training data.
        """
        inspection = inspect_network(self.net, self.chip)
        peaks = Calibration.of(self.net, inspection.circuit, self.chip, batch).peaks
        self._set_plan(replace(self.plan, peaks=peaks))
        return self.plan

    # --- What the module is -------------------------------------------------------------------------

    def state(self, family: str | Sequence[str] | None = None) -> TorchModuleParameters:
        """Return the states of the chip, in its own units."""
        return TorchModuleParameters(
            {name: getattr(self, name) for name in _STATES} if family is None else {}
        )

    def as_graph(self) -> "DagModule":
        """Return the graph of the network whose parameters are trained; it computes in float."""
        return graph_of(self.net)

    @property
    def chip(self) -> Chip:
        """The chip."""
        return self._template.chip

    @property
    def plan(self) -> ScalePlan:
        """Weight shifts, state peaks and headroom."""
        peaks = {
            population.path: self._state_buffer(f"_peaks_{population.layer}")[
                population.start : population.stop
            ].clone()
            for population in self._template.populations
        }
        shifts = dict(zip(SHIFTS, self._state_buffer("_shifts").tolist(), strict=True))
        return ScalePlan(**shifts, peaks=peaks, headroom=float(self._state_buffer("_headroom")))

    @property
    def output_mode(self) -> OutputMode:
        """What the output is: events, or a state of the output neurons."""
        return self._output_mode

    @property
    def mapped(self) -> MappedNetwork:
        """The network in the chip's layout, in float, with the parameters of evaluation mode.

        Its delays are 0: the module itself has those of the chip.
        """
        with torch.no_grad():
            values = current_values(self.net, self._placement, deterministic=True)
            check_values(values, self._placement)
            mapped = mapped_values(self._placement, self._template, values)
        return replace(mapped, delay=0, delays=(0,) * len(mapped.delays))

    @property
    def scales(self) -> dict[str, np.ndarray]:
        """Factor (N,) from float units to states of every population."""
        integers = core_of(self.mapped, self.plan).integers
        by_layer = {"hidden": integers.scale, "output": integers.scale_out}
        return {p.path: by_layer[p.layer][p.start : p.stop].copy() for p in self._template.populations}

    @property
    def specification(self) -> Specification:
        """The program of the parameters as they are now, in evaluation mode."""
        return quantise(self.mapped, self.plan).specification

    def simulator(self, output_mode: OutputMode | None = None) -> XyloSim:
        """Return a simulator of :attr:`specification`, with this module's output if none is named."""
        return XyloSim(self.specification, output_mode or self._output_mode)
