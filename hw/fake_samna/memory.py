"""How states are read from an imitated chip: by events that name a neuron, or word by word."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .core import Core

__all__ = ["StateMemory"]

JUNK = 0x5A5A
"""What the first word of a series of reads answers."""


class StateMemory:
    """The chip's state memory: hidden neurons first, output neurons behind them."""

    def __init__(self, core: "Core") -> None:
        self._core = core
        self._fresh_at = -1

    def answer(self, request: str, event: Any) -> Any:
        """Return the event that answers a read."""
        if not self._open():
            raise RuntimeError("state memory is read while access to it is off")
        if request == "ReadMemoryValue":
            return self._word(event.address)
        values = self._states()
        name, reply, field = {
            "ReadMembranePotential": ("Vmem", "MembranePotential", "value"),
            "ReadSynapticCurrent": ("Isyn", "SynapticCurrent", "value"),
            "ReadHiddenSynapticCurrent2": ("Isyn2", "HiddenSynapticCurrent2", "value"),
            "ReadHiddenSpikeCount": ("Spikes", "HiddenSpikeCount", "count"),
        }[request]
        found = values[name]
        if event.neuron_id >= len(found):
            raise RuntimeError(f"{request}: neuron {event.neuron_id} does not exist")
        return self._core.event(reply, neuron_id=event.neuron_id, **{field: int(found[event.neuron_id])})

    def _word(self, address: int) -> Any:
        """Return a word as unsigned 16 bits; a series of reads begins with junk."""
        data, series = 0, self._fresh_at
        self._fresh_at = address
        for name, base in self._core.dialect.memory.items():
            values = self._states()[name]
            if base <= address < base + len(values):
                data = int(values[address - base]) & 0xFFFF
        if series not in (address, address - 1):
            data = JUNK
        return self._core.event("MemoryValue", address=address, data=data)

    def _states(self) -> dict[str, np.ndarray]:
        state = self._core.state
        second = state.isyn[0, 1] if state.isyn.shape[1] == 2 else np.zeros_like(state.isyn[0, 0])
        return {
            "Isyn": np.concatenate([state.isyn[0, 0], state.isyn_out[0]]),
            "Isyn2": second,
            "Vmem": np.concatenate([state.vmem[0], state.vmem_out[0]]),
            "Spikes": state.spikes[0],
        }

    def _open(self) -> bool:
        debug = self._core.active.debug
        switch = {"a2": "ram_power_enable", "a3": "ram_access_enable"}.get(self._core.dialect.chip)
        return self._core.ram_open if switch is None else bool(getattr(debug, switch))
