"""Chip configurations with the vendor's classes, attributes and JSON, without the vendor's driver.

The attribute names are those of samna 0.48; an attribute that does not exist is an AttributeError,
as with the vendor's objects. The JSON of Xylo-Audio 2 agrees with what samna writes; no example of
the other chips' JSON is public, so theirs follows the same rules and is marked as unconfirmed.
"""

from typing import ClassVar

from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, FileFormatError

from .fields import (
    ConfigObject,
    Flag,
    Integer,
    IntegerArray,
    IntegerList,
    Many,
    Matrix,
    Nested,
    OptionalInteger,
    OptionalRange,
)
from .vendor_json import dump_json, parse_json

__all__ = [
    "A1Configuration",
    "A2Configuration",
    "A3Configuration",
    "ImuConfiguration",
    "XyloConfiguration",
    "configuration_class",
]

_STATE = (-(2**15), 2**15 - 1)
_BYTE = (0, 2**8 - 1)
_SHIFT = (0, 15)
_WORD = (0, 2**32 - 1)


class OutputNeuron(ConfigObject):
    """One output neuron."""

    threshold = Integer(*_STATE)
    v_mem_decay = Integer(*_BYTE)
    i_syn_decay = Integer(*_BYTE)
    v_mem_bias = Integer(*_STATE)


class OneSynapseNeuron(OutputNeuron):
    """One hidden neuron of a chip with a single synapse."""

    alias_target = OptionalInteger()


class TwoSynapseNeuron(OutputNeuron):
    """One hidden neuron of a chip with two synapses."""

    i_syn2_decay = Integer(*_BYTE)
    alias_target = OptionalInteger()


class OneSynapseInput(ConfigObject):
    """Input weights (Nin, Nien)."""

    weight_bit_shift = Integer(*_SHIFT)
    weights = Matrix()


class TwoSynapseInput(OneSynapseInput):
    """Input weights (Nin, Nien) for two synapses."""

    syn2_weights = Matrix(json="syn2_weights")  # the one name that the vendor leaves in snake case


class OneSynapseHidden(ConfigObject):
    """Recurrent weights (Nhid, Nhid) and hidden neurons."""

    weight_bit_shift = Integer(*_SHIFT)
    weights = Matrix()
    neurons = Many(OneSynapseNeuron)
    aliasing = Flag()


class TwoSynapseHidden(ConfigObject):
    """Recurrent weights (Nhid, Nhid) for two synapses, and hidden neurons."""

    weight_bit_shift = Integer(*_SHIFT)
    weights = Matrix()
    syn2_weights = Matrix()
    neurons = Many(TwoSynapseNeuron)
    aliasing = Flag()


class ReadoutConfig(ConfigObject):
    """Output weights (Noen, Nout) and output neurons."""

    weight_bit_shift = Integer(*_SHIFT)
    weights = Matrix()
    neurons = Many(OutputNeuron)


class A2Debug(ConfigObject):
    """Clocks, memory power and monitors of a Xylo-Audio 2; the defaults are those of the chip."""

    keep_interrupt = Flag()
    always_update_omp_stat = Flag()
    enable_rst_pad_pull = Flag(default=True)
    rst_pad_pull_select = Flag()
    ram_wake_up_settle_time = Integer(*_WORD)
    ram_power_enable = Flag()
    monitors = IntegerArray(4)
    isyn_clock_enable = Flag()
    isyn2_clock_enable = Flag()
    ra_clock_enable = Flag()
    bias_clock_enable = Flag()
    hm_clock_enable = Flag()
    input_write_select = Integer(*_WORD)
    input_read_select = Integer(*_WORD)
    input_select_enable = Flag()
    ram_manual_sleep_control = Integer(*_WORD)
    ram_auto_sleep_control = Integer(*_WORD)
    ram_light_sleep = Flag()
    ram_deep_sleep = Flag()
    debug_status_update_enable = Flag()
    monitor_debug_enable = Flag()
    pe_internal_select = Integer(*_WORD, default=3)
    pe_fsm_select = Integer(*_WORD, default=7)
    pe_engine_select = Integer(*_WORD, default=7)
    pe_access_ram_fsm_select = Integer(*_WORD, default=31)
    mem_shell_ram_arbiter_select = Integer(*_WORD, default=31)
    read_timing_select = Integer(*_WORD, default=1)
    write_timing_select = Integer(*_WORD, default=1)
    monitor_neuron_v_mem = OptionalRange()
    monitor_neuron_i_syn = OptionalRange()
    monitor_neuron_i_syn2 = OptionalRange()
    monitor_neuron_spike = OptionalRange()


class ImuDebug(ConfigObject):
    """Clocks, memory power and monitors of a Xylo-IMU."""

    always_update_omp_stat = Flag()
    imu_if_clk_enable = Flag()
    imu_if_clock_freq_div = Integer(*_WORD)
    isyn_clock_enable = Flag()
    ra_clock_enable = Flag()
    bias_clock_enable = Flag()
    hm_clock_enable = Flag()
    ram_power_enable = Flag()
    monitor_neuron_v_mem = OptionalRange()
    monitor_neuron_i_syn = OptionalRange()
    monitor_neuron_spike = OptionalRange()


class A3Debug(ConfigObject):
    """Memory access, time stamps and monitors of a Xylo-Audio 3."""

    always_update_omp_stat = Flag()
    ram_access_enable = Flag()
    use_timestamps = Flag()
    sdm_clock_ratio = Integer(*_WORD)
    debug_status_update_enable = Flag()
    monitor_neuron_v_mem = IntegerList()
    monitor_neuron_i_syn = IntegerList()
    monitor_neuron_i_syn2 = IntegerList()
    monitor_neuron_spike = IntegerList()


class XyloConfiguration(ConfigObject):
    """What all chips' configurations have in common."""

    chip: ClassVar[str]
    json_confirmed: ClassVar[bool] = False
    """Whether :meth:`to_json` was compared with what the vendor's own object writes."""

    __slots__ = ()

    def to_json(self) -> str:
        """Return the vendor's JSON."""
        return dump_json({"value0": self.to_dict()})

    def from_json(self, text: str) -> None:
        """Take over the content of the vendor's JSON; on an error nothing changes.

        Raises:
            FileFormatError: if it is not a configuration of this chip.
        """
        content = parse_json(text)
        if not isinstance(content, dict) or set(content) != {"value0"}:
            raise FileFormatError("A configuration is one JSON object with the only key `value0`.")
        self.__setstate__(self.from_dict(content["value0"])._values)


class A2Configuration(XyloConfiguration):
    """Configuration of a Xylo-Audio 2, ``samna.xyloCore2.configuration.XyloConfiguration``."""

    chip = "a2"
    json_confirmed = True

    operation_mode = Integer(*_BYTE)
    synapse2_enable = Flag()
    bias_enable = Flag()
    direct_fetch_state_ram = Flag()
    enable_hibernation_mode = Flag()
    clear_network_state = Flag()
    time_resolution_wrap = Integer(*_WORD)
    hibernation_mode_time_resolution_wrap = Integer(*_WORD)
    input = Nested(TwoSynapseInput)
    reservoir = Nested(TwoSynapseHidden)
    readout = Nested(ReadoutConfig)
    debug = Nested(A2Debug)


class A1Configuration(A2Configuration):
    """Configuration of a Xylo-Audio 1, for simulation: its driver is gone; shaped as its successor's."""

    chip = "a1"
    json_confirmed = False


class A3Configuration(XyloConfiguration):
    """Configuration of a Xylo-Audio 3, ``samna.xyloAudio3.configuration.XyloConfiguration``."""

    chip = "a3"

    operation_mode = Integer(*_BYTE)
    input_source = Integer(*_BYTE)
    synapse2_enable = Flag()
    bias_enable = Flag()
    enable_hibernation_mode = Flag()
    time_resolution_wrap = Integer(*_WORD)
    input = Nested(TwoSynapseInput)
    hidden = Nested(TwoSynapseHidden)
    readout = Nested(ReadoutConfig)
    debug = Nested(A3Debug)


class ImuConfiguration(XyloConfiguration):
    """Configuration of a Xylo-IMU, ``samna.xyloImu.configuration.XyloConfiguration``."""

    chip = "imu"

    operation_mode = Integer(*_BYTE)
    bias_enable = Flag()
    enable_hibernation_mode = Flag()
    imu_if_input_enable = Flag()
    time_resolution_wrap = Integer(*_WORD)
    input = Nested(OneSynapseInput)
    hidden = Nested(OneSynapseHidden)
    readout = Nested(ReadoutConfig)
    debug = Nested(ImuDebug)


_CLASSES = {cls.chip: cls for cls in (A1Configuration, A2Configuration, A3Configuration, ImuConfiguration)}


def configuration_class(chip: str | Chip) -> type[XyloConfiguration]:
    """Return the configuration class of a chip."""
    name = get_chip(chip).name
    if name not in _CLASSES:
        raise ConfigurationError(f"There is no configuration class for chip {name!r}.")
    return _CLASSES[name]
