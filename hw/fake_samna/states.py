"""The sink of a Xylo-Audio 2 that collects neuron states over time."""

from typing import Any, ClassVar

import numpy as np

__all__ = ["state_sink_class"]


class _StateSink:
    """States of the neurons that the configuration monitors; lists are shaped (neuron, time)."""

    _kind: ClassVar[type]

    def __init__(self) -> None:
        self._config: Any = None
        self._rows: list[dict[str, np.ndarray]] = []

    def set_configuration(self, config: Any) -> None:
        """Say which neurons are monitored."""
        if not isinstance(config, self._kind):
            raise TypeError(f"set_configuration(): incompatible argument {type(config).__name__}")
        self._config = config

    def reset(self) -> None:
        """Forget what was collected."""
        self._rows = []

    def _receive(self, events: list[Any]) -> None:
        self._rows += [e._states for e in events if getattr(e, "_states", None) is not None]

    def _monitored(self, monitor: str, record: str) -> list[list[int]]:
        chosen = getattr(self._config.debug, monitor) if self._config is not None else None
        if chosen is None or not self._rows:
            return []
        rows = [row[record] for row in self._rows]
        columns = range(chosen.start, min(chosen.end, len(rows[0])))
        return [[int(row[k]) for row in rows] for k in columns]

    def get_reservoir_v_mem(self) -> list[list[int]]:
        """Membrane states of hidden neurons."""
        return self._monitored("monitor_neuron_v_mem", "Vmem")

    def get_reservoir_i_syn(self) -> list[list[int]]:
        """Synaptic states of hidden neurons."""
        return self._monitored("monitor_neuron_i_syn", "Isyn")

    def get_reservoir_i_syn2(self) -> list[list[int]]:
        """States of their second synapse."""
        return self._monitored("monitor_neuron_i_syn2", "Isyn2")

    def get_reservoir_spike(self) -> list[list[int]]:
        """Events of hidden neurons."""
        return self._monitored("monitor_neuron_spike", "Spikes")

    def get_output_v_mem(self) -> list[list[int]]:
        """Membrane states of output neurons."""
        return [[int(row["Vmem_out"][k]) for row in self._rows] for k in range(self._outputs())]

    def get_output_spike(self) -> list[list[int]]:
        """Events of output neurons."""
        return [[int(row["Spikes_out"][k]) for row in self._rows] for k in range(self._outputs())]

    def _outputs(self) -> int:
        return len(self._rows[0]["Vmem_out"]) if self._rows else 0


def state_sink_class(configuration: type) -> type:
    """Return ``NeuronStateSinkNode`` for a configuration class."""
    return type("NeuronStateSinkNode", (_StateSink,), {"_kind": configuration})
