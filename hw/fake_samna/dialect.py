"""What differs between the driver's namespaces for the three chips, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DIALECTS", "Dialect"]


@dataclass(frozen=True)
class Dialect:
    """The names and quirks of one chip's part of the driver.

    Attributes:
        chip: name in the chip table.
        module: namespace of the driver.
        board: device type.
        step: what events call their time step.
        hidden_class: class of the hidden layer's configuration.
        neuron_class: class of one of its neurons.
        modes: operation modes.
        channels_module: namespace with the power monitor's channels.
        channels: supply -> number.
        registers: that hold input events waiting for the next step.
        triggered: whether a ``TriggerProcessing`` event runs the steps; else a later spike does.
        state_sink: whether states come through a sink of their own and not in readouts.
        reset: what clears states: a configuration flag, a soft reset of the board, or only re-opening.
        memory: bases of the state memory: synapse 1, synapse 2, membrane, events.
        firmware: versions (fxtree, unifirm).
        fresh_counter: what the step counter reads before anything was run.
    """

    chip: str
    module: str
    board: str
    step: str
    hidden_class: str
    neuron_class: str
    modes: Mapping[str, int]
    channels_module: str
    channels: Mapping[str, int]
    registers: tuple[int, ...]
    triggered: bool
    state_sink: bool
    reset: str
    firmware: tuple[str, str]
    memory: Mapping[str, int] = field(default_factory=dict)
    fresh_counter: int = -1


_MODES = {"RealTime": 0, "AcceleratedTime": 1, "Manual": 2}

DIALECTS: dict[str, Dialect] = {
    dialect.chip: dialect
    for dialect in (
        Dialect(
            chip="a2",
            module="xyloCore2",
            board="XyloA2TestBoard",
            step="timestamp",
            hidden_class="ReservoirConfig",
            neuron_class="ReservoirNeuron",
            modes=_MODES,
            channels_module="xyloA2TestBoard",
            channels={"Io": 0, "LogicAfe": 1, "IoAfe": 2, "Logic": 3},
            registers=(0x11, 0x12, 0x13, 0x14),
            triggered=False,
            state_sink=True,
            reset="flag",
            firmware=("0.11.5", "1.1.3"),
            memory={"Isyn": 0x7E00, "Isyn2": 0x81F0, "Vmem": 0x85D8, "Spikes": 0xA540},
        ),
        Dialect(
            chip="imu",
            module="xyloImu",
            board="XyloImuTestBoard",
            step="timestep",
            hidden_class="HiddenConfig",
            neuron_class="HiddenNeuron",
            modes=_MODES,
            channels_module="xyloImuBoards",
            channels={"Io": 0, "Core": 1},
            registers=(0x47, 0x48, 0x49, 0x4A),
            triggered=True,
            state_sink=False,
            reset="board",
            firmware=("0.11.5", "1.1.3"),
        ),
        Dialect(
            chip="a3",
            module="xyloAudio3",
            board="XyloAudio3TestBoard",
            step="timestep",
            hidden_class="HiddenConfig",
            neuron_class="HiddenNeuron",
            modes=_MODES | {"Recording": 3},
            channels_module="xyloAudio3",
            channels={"Io": 0, "AnalogLogic": 1, "DigitalLogic": 2},
            registers=(0x149, 0x14A, 0x14B, 0x14C),
            triggered=True,
            state_sink=False,
            reset="reopen",
            firmware=("0.12.2", "1.6.0"),
            memory={"Isyn": 0x1200, "Isyn2": 0x1600, "Vmem": 0x19E0, "Spikes": 0x3980},
        ),
    )
}
