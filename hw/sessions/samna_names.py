"""What the vendor's driver calls the parts of each chip, and how each chip wants to be treated: data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["NAMES", "SamnaNames"]


@dataclass(frozen=True)
class SamnaNames:
    """What the driver calls the parts of one chip, and how the chip wants to be treated.

    Attributes:
        chip: name in the chip table.
        step: the events' attribute for the time step.
        model: method of the board that gives the chip's handle.
        neuron_class: configuration class of a hidden neuron.
        channels_module: module of the power monitor's channels.
        channels: our name -> the driver's name of a supply.
        minimum_firmware: fxtree, unifirm.
        reset: how states are cleared: ``flag``, ``board`` or ``reopen``.
        triggered: runs end with ``TriggerProcessing``; else with a spike that is wiped out again.
        registers: input registers that wipe it out.
        state_sink: states come through a ``NeuronStateSinkNode``, not in readouts.
        memory: bases of the state memory where there are no events that read a neuron.
        ram_access: ``flag`` of the configuration, ``method`` of the handle, or always on.
        power_frequency: default rate of the power monitor in Hz.
    """

    chip: str
    step: str
    model: str
    neuron_class: str
    channels_module: str
    channels: Mapping[str, str]
    minimum_firmware: tuple[str, str]
    reset: str
    triggered: bool
    ram_access: str
    power_frequency: float
    registers: tuple[int, ...] = ()
    state_sink: bool = False
    memory: Mapping[str, int] = field(default_factory=dict)


NAMES: dict[str, SamnaNames] = {
    names.chip: names
    for names in (
        SamnaNames(
            chip="a2",
            step="timestamp",
            model="get_xylo_model",
            neuron_class="ReservoirNeuron",
            channels_module="xyloA2TestBoard",
            channels={"io": "Io", "afe_core": "LogicAfe", "afe_ldo": "IoAfe", "snn_core": "Logic"},
            minimum_firmware=("0.11.5", "1.1.3"),
            reset="flag",
            triggered=False,
            ram_access="always",
            power_frequency=5.0,
            registers=(0x11, 0x12, 0x13, 0x14),
            state_sink=True,
            memory={"Isyn": 0x7E00, "Isyn2": 0x81F0, "Vmem": 0x85D8, "Spikes": 0xA540},
        ),
        SamnaNames(
            chip="imu",
            step="timestep",
            model="get_model",
            neuron_class="HiddenNeuron",
            channels_module="xyloImuBoards",
            channels={"io": "Io", "core": "Core"},
            minimum_firmware=("0.11.5", "1.1.3"),
            reset="board",
            triggered=True,
            ram_access="method",
            power_frequency=5.0,
        ),
        SamnaNames(
            chip="a3",
            step="timestep",
            model="get_model",
            neuron_class="HiddenNeuron",
            channels_module="xyloAudio3",
            channels={"io": "Io", "analog": "AnalogLogic", "digital": "DigitalLogic"},
            minimum_firmware=("0.12.2", "1.6.0"),
            reset="reopen",
            triggered=True,
            ram_access="flag",
            power_frequency=100.0,
        ),
    )
}
