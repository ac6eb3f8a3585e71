"""Events of one chip's driver: what can be written to it and what comes from it."""

from typing import Any

from .dialect import Dialect
from .strict import Struct, integer, integers, real

__all__ = ["INPUTS", "Measurement", "event_classes"]

_STEP = integer(-(2**31), 2**31 - 1)
_NEURON = integer(0, 2**16 - 1)
_ADDRESS = integer(0, 2**16 - 1)
_VALUE = integer(-(2**31), 2**32 - 1)

INPUTS = {
    "TriggerReadout": {},
    "ReadRegisterValue": {"address": (_ADDRESS, ...)},
    "WriteRegisterValue": {"address": (_ADDRESS, ...), "data": (_VALUE, ...)},
    "ReadMemoryValue": {"address": (_ADDRESS, ...)},
    "WriteMemoryValue": {"address": (_ADDRESS, ...), "data": (_VALUE, ...)},
}
_NEURON_READS = {
    name: {"neuron_id": (_NEURON, ...)} for name in ("ReadMembranePotential", "ReadSynapticCurrent")
}
_HIDDEN_READS = {"ReadHiddenSpikeCount": {"neuron_id": (_NEURON, ...)}}
_SECOND_READS = {"ReadHiddenSynapticCurrent2": {"neuron_id": (_NEURON, ...)}}
_OUTPUTS = {
    "RegisterValue": {"address": (_ADDRESS, 0), "data": (_VALUE, 0)},
    "MemoryValue": {"address": (_ADDRESS, 0), "data": (_VALUE, 0)},
}
_VALUES = {
    name: {"neuron_id": (_NEURON, 0), "value": (_VALUE, 0)}
    for name in ("MembranePotential", "SynapticCurrent", "HiddenSynapticCurrent2")
}


def event_classes(dialect: Dialect) -> dict[str, type]:
    """Return the classes of the chip's ``event`` namespace by name."""
    spike = {"neuron_id": (_NEURON, ...), dialect.step: (_STEP, 0)}
    readout = {
        dialect.step: (_STEP, 0),
        **dict.fromkeys(
            ("output_spikes", "output_v_mems", "hidden_spikes", "neuron_v_mems", "neuron_i_syns"),
            (integers, ()),
        ),
    }
    structs: dict[str, dict[str, Any]] = {**INPUTS, **_OUTPUTS, "Spike": spike, "Readout": readout}
    if dialect.triggered:
        structs["TriggerProcessing"] = {"target_timestep": (_STEP, None)}
        structs |= _NEURON_READS | _HIDDEN_READS
        structs |= _VALUES | {"HiddenSpikeCount": {"neuron_id": (_NEURON, 0), "count": (_VALUE, 0)}}
    else:
        structs["TriggerProcessing"] = {}
    if dialect.chip == "a3":
        structs |= _SECOND_READS
        readout["neuron_i_syn2s"] = (integers, ())
    module = f"samna.{dialect.module}.event"
    return {
        name: type(name, (Struct,), {"fields": fields, "__module__": module})
        for name, fields in structs.items()
    }


class Measurement(Struct):
    """One sample of the power monitor: a channel's number, and watts."""

    fields = {"channel": (integer(0, 15), 0), "value": (real, 0.0)}  # noqa: RUF012
