"""The imitated chip: takes events and configurations, and answers what the bit-exact simulator computes."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from snnkit.utilities.chips import get_chip

from ..xylo.configuration.conversion import specification_from_configuration
from ..xylo.simulator.program import Program, compile_program
from ..xylo.simulator.run import RECORDS, CoreState, run_program
from ..xylo.specification.core import Specification
from .dialect import Dialect
from .faults import FaultCounter
from .graph import SourceNode
from .memory import StateMemory

__all__ = ["Core"]

Alter = Callable[[Specification], Specification]


class Core:
    """One chip on one board.

    Written events wait until somebody asks for an answer. A configuration takes effect when a register is
    read after it, or when the events written so far are done.
    """

    def __init__(  # noqa: PLR0917
        self,
        dialect: Dialect,
        configuration: type[Any],
        events: Mapping[str, type],
        faults: FaultCounter,
        alter: Alter | None,
        ambient: np.ndarray | None,
    ) -> None:
        self.dialect, self.faults = dialect, faults
        self.source = SourceNode(self.pump)
        self.lost = False
        self.ram_open = False
        self.sensor_on = dialect.chip != "imu"
        """A microphone always listens; the motion sensor has to be started."""
        self.activity: list[int] = []
        """Synaptic events of each step since power was last measured."""
        self._configuration, self._events = configuration, events
        self._alter, self._ambient = alter, ambient
        self._queue: list[Any] = []
        self._active: Any = configuration()
        self._pending: Any = None
        self._program: Program | None = None
        self._state: CoreState | None = None
        self._counter, self._until = dialect.fresh_counter, dialect.fresh_counter
        self._inputs: dict[int, list[int]] = {}
        self._cap = get_chip(dialect.chip).input_event_cap
        self._outputs: np.ndarray = np.zeros(0, int)
        self._memory = StateMemory(self)

    # What the model handle calls.

    def apply(self, config: Any) -> None:
        """Take a configuration; it is not active yet."""
        if not isinstance(config, self._configuration):
            raise TypeError(f"apply_configuration(): incompatible argument {type(config).__name__}")
        self._pending = copy.deepcopy(config)
        if self.faults.strikes("corrupted_writes"):
            weights = self._pending.input.weights
            weights[0, 0] = -1 if weights[0, 0] == 1 else 1
            self._pending.input.weights = weights

    def configuration(self) -> Any:
        """Return what is active."""
        return copy.deepcopy(self._active)

    def accept(self, events: list[Any]) -> None:
        """Queue events; objects that are none raise TypeError, and nothing of the list is taken."""
        for event in events:
            name = type(event).__name__
            if self._events.get(name) is not type(event) or name not in _HANDLERS:
                raise TypeError(f"write(): {type(event).__name__} is no input event of this chip")
        self._queue += events

    def settle(self) -> None:
        """Let a written configuration take effect."""
        if self._pending is None:
            return
        config, self._pending = self._pending, None
        cleared = self.dialect.reset == "flag" and config.clear_network_state
        self._active = config
        if not config.readout.neurons:
            self._program = None
            return
        spec = specification_from_configuration(config)
        spec = spec if self._alter is None else self._alter(spec)
        self._program = compile_program(spec)
        fresh = CoreState.zero(self._program)
        kept = self._state is not None and self._state.isyn.shape == fresh.isyn.shape
        if not kept or self._state is None or self._state.vmem_out.shape != fresh.vmem_out.shape:
            self._state = fresh
        if cleared and not self.faults.strikes("stuck_resets"):
            self._state = fresh
            self._inputs.clear()

    # Processing.

    def pump(self) -> None:
        """Do what was written; in real time, one step passes."""
        if self.lost:
            return
        queue, self._queue = self._queue, []
        for event in queue:
            if self.lost:
                return
            _HANDLERS[type(event).__name__](self, event)
        self._process()
        self.settle()
        if not queue and self._mode == "RealTime" and self._program is not None:
            self._live_step()

    @property
    def _mode(self) -> str:
        return self._active.operation_mode.name

    @property
    def state(self) -> CoreState:
        """All states."""
        if self._state is None:
            raise RuntimeError("the chip has no configuration")
        return self._state

    @property
    def active(self) -> Any:
        """The configuration in force."""
        return self._active

    def event(self, name: str, **values: Any) -> Any:
        """Make an event of this chip."""
        return self._events[name](**values)

    def send(self, *events: Any) -> None:
        """Send events to all listeners."""
        self.source._send(list(events))

    def _require_program(self) -> Program:
        if self._program is None:
            raise RuntimeError("events were written before a configuration was applied")
        return self._program

    def spike(self, event: Any) -> None:
        """An input event: in this step (manual), or in the step it names."""
        program = self._require_program()
        n_in = program.inputs.first.size - 1
        values = event._values  # a raster has thousands of these
        neuron = values["neuron_id"]
        if neuron >= n_in:
            raise RuntimeError(f"input neuron {neuron} does not exist, there are {n_in}")
        step = self._counter + 1
        if self._mode == "AcceleratedTime":
            step = values[self.dialect.step]
            if step <= self._until:
                raise RuntimeError(f"a spike for step {step} came after one for a later step")
            self._until = step - 1
        counts = self._inputs.setdefault(step, [0] * n_in)
        if counts[neuron] < self._cap:
            counts[neuron] += 1

    def trigger_processing(self, event: Any) -> None:
        """Run up to a step, or one step in manual mode."""
        self._require_program()
        target = getattr(event, "target_timestep", None) if self.dialect.triggered else None
        if self._mode == "Manual":
            self._until = self._counter + 1
            self._process()
        elif self._mode == "AcceleratedTime" and self.dialect.triggered:
            if target is None:
                raise RuntimeError("accelerated time needs TriggerProcessing(target_timestep=...)")
            self._until = max(self._until, target - 1)

    def trigger_readout(self, _event: Any) -> None:
        """Send the readout of the last step again."""
        self._process()
        self.send(self._readout(self._counter, self._outputs, None))

    def read_register(self, event: Any) -> None:
        """Answer with a register's value; what was applied before is in force now."""
        self._process()
        self.settle()
        self.send(self.event("RegisterValue", address=event.address, data=0))

    def write_register(self, event: Any) -> None:
        """Clear input events that wait for the next step: four channels a register."""
        self._process()
        if event.address not in self.dialect.registers:
            return
        first = 4 * self.dialect.registers.index(event.address)
        for counts in self._inputs.values():
            counts[first : first + 4] = [0] * len(counts[first : first + 4])

    def read_state(self, event: Any) -> None:
        """Answer with a state or memory word."""
        self._process()
        self.send(self._memory.answer(type(event).__name__, event))

    def _process(self) -> None:
        steps = self._until - self._counter
        if steps <= 0 or self._program is None:
            return
        if self._mode != "RealTime" and self.faults.strikes("silent_runs"):
            self._until = self._counter
            self._inputs.clear()
            return
        lasting = self.faults.lasts(steps)
        if lasting is not None:
            steps, self.lost = lasting, True
        counts = np.zeros((1, steps, len(self._program.inputs.first) - 1), np.uint8)
        for step in range(steps):
            counts[0, step] = self._inputs.pop(self._counter + 1 + step, 0)
        first = self._counter + 1
        self._counter += steps
        readouts = self._run(first, counts)
        if self._mode != "Manual":
            self._send_readouts(readouts)

    def _run(self, first: int, counts: np.ndarray) -> list[Any]:
        """Run steps and return their readouts."""
        program = self._require_program()
        run = run_program(program, counts, self.state, set(RECORDS))
        self._state = CoreState(*(a.copy() for a in vars(run.state).values()))
        recorded = {name: array[0].astype(int) for name, array in run.recorded.items()}
        self.activity += (counts[0].sum(axis=1) + recorded["Spikes"].sum(axis=1)).tolist()
        if counts.shape[1]:
            self._outputs = recorded["Spikes_out"][-1]
        return [
            self._readout(
                first + step,
                recorded["Spikes_out"][step],
                {name: array[step] for name, array in recorded.items()},
            )
            for step in range(counts.shape[1])
        ]

    def _readout(self, step: int, outputs: np.ndarray, states: dict[str, np.ndarray] | None) -> Any:
        values: dict[str, Any] = {self.dialect.step: step, "output_spikes": outputs.tolist()}
        if states is not None:
            values |= {"output_v_mems": states["Vmem_out"].tolist()}
            if not self.dialect.state_sink:
                values |= self._monitored(states)
        readout = self.event("Readout", **values)
        object.__setattr__(readout, "_states", states)
        return readout

    def _monitored(self, states: dict[str, np.ndarray]) -> dict[str, list[int]]:
        """Return the states of the monitored neurons: hidden neurons first, then outputs."""
        every = {
            "neuron_v_mems": ("v_mem", np.concatenate([states["Vmem"], states["Vmem_out"]])),
            "neuron_i_syns": ("i_syn", np.concatenate([states["Isyn"], states["Isyn_out"]])),
            "hidden_spikes": ("spike", states["Spikes"]),
        }
        if "neuron_i_syn2s" in self._events["Readout"].fields:  # type: ignore[attr-defined]
            second = states.get("Isyn2", np.zeros(0, int))
            every["neuron_i_syn2s"] = ("i_syn2", second if second.size else np.zeros_like(states["Isyn"]))
        return {field: self._chosen(kind, values) for field, (kind, values) in every.items()}

    def _chosen(self, kind: str, values: np.ndarray) -> list[int]:
        monitor = getattr(self._active.debug, f"monitor_neuron_{kind}")
        if not monitor:
            return []
        ids = monitor if isinstance(monitor, list) else range(monitor.start, monitor.end)
        return [int(values[i]) for i in ids]

    def _send_readouts(self, readouts: list[Any]) -> None:
        middle = len(readouts) // 2
        if len(readouts) > 1:
            if self.faults.strikes("dropped_readouts"):
                del readouts[middle]
            if self.faults.strikes("repeated_readouts"):
                readouts.insert(middle, readouts[middle])
            if self.faults.strikes("reordered_readouts"):
                readouts[middle - 1], readouts[middle] = readouts[middle], readouts[middle - 1]
        self.send(*readouts)

    def _live_step(self) -> None:
        """One step in real time, with input from the surroundings."""
        n_in = len(self._require_program().inputs.first) - 1
        counts = np.zeros((1, 1, n_in), np.uint8)
        listens = getattr(self._active, "imu_if_input_enable", True)
        if self._ambient is not None and len(self._ambient) and listens and self.sensor_on:
            counts[0, 0] = self._ambient[(self._counter + 1) % len(self._ambient)]
        self._counter += 1
        self._until = self._counter
        if self._active.time_resolution_wrap > 0:
            self._send_readouts(self._run(self._counter, counts))


_HANDLERS: dict[str, Callable[[Core, Any], None]] = {
    "Spike": Core.spike,
    "TriggerProcessing": Core.trigger_processing,
    "TriggerReadout": Core.trigger_readout,
    "ReadRegisterValue": Core.read_register,
    "WriteRegisterValue": Core.write_register,
    **dict.fromkeys(
        (
            "ReadMemoryValue",
            "ReadMembranePotential",
            "ReadSynapticCurrent",
            "ReadHiddenSpikeCount",
            "ReadHiddenSynapticCurrent2",
        ),
        Core.read_state,
    ),
}
