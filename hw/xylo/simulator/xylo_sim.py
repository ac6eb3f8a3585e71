"""XyloSim: a Xylo chip, exact to the last bit, for many rasters at once."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, ParameterError, ShapeError, unknown_key_message

from ..specification.core import Specification
from .counters import Counters, counters_from_kernel
from .hibernation import hibernation
from .program import Program, compile_program
from .rasters import Raster, read_raster
from .run import RECORDS, CoreState, KernelRun, run_program

__all__ = ["OutputMode", "XyloSim"]

OutputMode = Literal["Spike", "Isyn", "Vmem"]

_OUTPUT_RECORD = {"Spike": "Spikes_out", "Isyn": "Isyn_out", "Vmem": "Vmem_out"}


class XyloSim:
    """Runs a :class:`Specification` as its chip would: integer for integer, step for step.

    ``output, state, record = sim(raster, record=False)``. State is kept between calls, for every sample
    of a batch; :meth:`reset_state` clears it. After a call, ``counters`` tells what saturated and what
    was clipped in it.

    Args:
        specification: the program; it may break the chip's limits.
        output_mode: what the output is: ``"Spike"`` events, or ``"Isyn"`` or ``"Vmem"``, the synaptic or
            membrane state of the output neurons.
        dt: time step in seconds, instead of the specification's; it changes no result.

    Raises:
        ParameterError: if the chip's core cannot hold what the specification asks for.

    Example:
        >>> import numpy as np
        >>> from snnkit.hw.xylo.specification.core import Specification
        >>> spec = Specification.create(chip="imu", weights_in=[[90]], weights_out=[[80]], threshold=60)
        >>> output, state, record = XyloSim(spec)(np.ones((4, 1), int), record=True)
        >>> record["Spikes"][:, 0].tolist()
        [0, 1, 1, 1]
    """

    chip: ClassVar[str] = "a2"
    """The chip that Rockpool's keys are read for; the faces of the other chips override it."""

    def __init__(
        self, specification: Specification, output_mode: OutputMode = "Spike", dt: float | None = None
    ) -> None:
        if output_mode not in get_args(OutputMode):
            raise ConfigurationError(
                unknown_key_message("output_mode", str(output_mode), get_args(OutputMode))
            )
        chip = get_chip(specification.chip)
        if chip.core_version == 1 and (specification.bias.any() or specification.bias_out.any()):
            raise ParameterError(
                f"The specification has biases, but the core of {chip.title} ({chip.name}) has none. "
                "Set `bias` and `bias_out` to zero, or choose another chip."
            )
        self._specification = specification
        self._output_mode: OutputMode = output_mode
        self._dt = specification.dt if dt is None else float(dt)
        self._program: Program = compile_program(specification)
        self._state = CoreState.zero(self._program)
        self._counters: Counters | None = None

    @classmethod
    def from_specification(
        cls,
        specification: Specification | Mapping[str, Any] | None = None,
        *,
        dt: float | None = None,
        output_mode: OutputMode = "Spike",
        **rockpool_keys: Any,
    ) -> "XyloSim":
        """Make a simulator of a specification, ours or Rockpool's (as a dict, or key by key).

        Rockpool's keys are ``weights_in``, ``weights_out``, ``weights_rec``, ``dash_mem`` and so on; an
        unknown one is an error.
        """
        if isinstance(specification, Specification):
            if rockpool_keys:
                raise ConfigurationError(
                    f"{', '.join(rockpool_keys)} given beside a Specification: change the specification "
                    "itself, with dataclasses.replace."
                )
            return cls(specification, output_mode, dt)
        values = dict(specification or {}) | rockpool_keys
        if dt is not None:
            values["dt"] = dt
        return cls(Specification.from_rockpool_dict(values, cls.chip), output_mode)

    @classmethod
    def from_config(
        cls, config: Any, dt: float | None = None, output_mode: OutputMode = "Spike"
    ) -> "XyloSim":
        """Make a simulator of a chip configuration, ours or the vendor's object.

        ``dt`` in seconds is not part of a configuration; left out, it is the chip's default.
        """
        from ..configuration.conversion import specification_from_configuration

        return cls(specification_from_configuration(config, dt), output_mode)

    def __call__(self, input_data: Any, record: bool = False) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run a raster of event counts.

        Args:
            input_data: ``(time, Nin)`` or ``(batch, time, Nin)``, numpy or torch, whole numbers 0..255; more
                than 15 events in one step are clipped, as on the chip, and counted.
            record: also return the states of all neurons over time.

        Returns:
            ``(output, state, record)`` in the caller's kind and rank. Output: integers
            ``(batch, time, Nout)``. State: int16 after the last step. Record, if asked for: ``Vmem``,
            ``Isyn``, ``Isyn2`` (with two synapses), ``Spikes``, ``Vmem_out``, ``Isyn_out``, each
            ``(batch, time, neurons)`` in the chip's own widths, and on version 2 cores ``Hibernation``
            ``(batch, time)``: whether the core would sleep in that step.

        Raises:
            ShapeError: wrong axes or channels, or a batch that does not fit the state of the last one.
            DataError: counts that are not whole numbers from 0 to 255.
        """
        raster = read_raster(input_data, self._specification.n_in)
        cap = get_chip(self._specification.chip).input_event_cap
        counts = np.minimum(raster.counts, np.uint8(cap))
        before = self._state_for(len(counts))
        output_name = _OUTPUT_RECORD[self._output_mode]
        wanted = {output_name, *(self._recorded_names() if record else ())}
        run = run_program(self._program, counts, before, wanted)
        recorded = {name: run.recorded[name] for name in RECORDS if record and name in wanted}
        if record and self._program.version == 2:
            recorded["Hibernation"] = hibernation(self._program, counts, before, recorded)
        self._state = run.state
        self._counters = self._count(raster.counts, counts, before, run)
        output = run.recorded[output_name].astype(np.int64)
        returned = {name: raster.returned(array) for name, array in recorded.items() if name != "Spikes_out"}
        return raster.returned(output), self._state_dict(raster), returned

    def evolve(self, input_data: Any, record: bool = False) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run a raster: the same as calling the simulator."""
        return self(input_data, record)

    def reset_state(self) -> "XyloSim":
        """Clear all states and the events that are still to be delivered."""
        self._state = CoreState.zero(self._program)
        return self

    @property
    def counters(self) -> Counters:
        """Saturations, clipped events, synaptic operations and events of the last call."""
        if self._counters is None:
            empty = np.zeros((1, 0, self._specification.n_in), np.uint8)
            start = CoreState.zero(self._program)
            return self._count(empty, empty, start, run_program(self._program, empty, start, ()))
        return self._counters

    @property
    def specification(self) -> Specification:
        """The program."""
        return self._specification

    @property
    def output_mode(self) -> OutputMode:
        """What the output is."""
        return self._output_mode

    @property
    def dt(self) -> float:
        """Time step in seconds."""
        return self._dt

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(Nin, Nhid, Nout)``."""
        return self._specification.shape

    @property
    def size_in(self) -> int:
        """Input channels."""
        return self._specification.n_in

    @property
    def size_out(self) -> int:
        """Output neurons."""
        return self._specification.n_out

    def __repr__(self) -> str:
        n_in, n_hidden, n_out = self.shape
        return (
            f"{type(self).__name__}({self._specification.chip}: {n_in} inputs, {n_hidden} hidden neurons, "
            f"{n_out} outputs, output_mode {self._output_mode!r}, dt {self._dt:g} s)"
        )

    def _state_for(self, batch: int) -> CoreState:
        if self._state.batch not in (1, batch):
            raise ShapeError(
                f"The state is that of a batch of {self._state.batch} samples, the raster has {batch}. "
                "Call reset_state() before a batch of another size."
            )
        return self._state

    def _recorded_names(self) -> set[str]:
        absent = {"Spikes_out"} if self._specification.n_synapses == 2 else {"Spikes_out", "Isyn2"}
        return set(RECORDS) - absent

    def _state_dict(self, raster: Raster) -> dict[str, Any]:
        return {name: raster.returned(array.copy()) for name, array in vars(self._state).items()}

    def _count(self, given: np.ndarray, counts: np.ndarray, before: CoreState, run: KernelRun) -> Counters:
        n = self._specification.n_hidden
        pending = before.spikes.sum(axis=0, dtype=np.int64) * (run.state.batch // before.batch)
        delivered = pending + run.hidden_counts[0, :n] - run.state.spikes.sum(axis=0, dtype=np.int64)
        spikes_in = counts.sum(axis=(0, 1), dtype=np.int64)
        clipped = given.sum(axis=(0, 1), dtype=np.int64) - spikes_in
        time_steps = counts.shape[0] * counts.shape[1]
        return counters_from_kernel(
            self._specification,
            self._program,
            spikes_in=spikes_in,
            clipped_input=clipped,
            delivered=delivered,
            hidden=run.hidden_counts,
            output=run.out_counts,
            time_steps=time_steps,
        )
