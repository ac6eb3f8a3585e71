"""The chip table: every limit of every Xylo chip stands here once.

Mapper, checks, quantiser, simulator, transforms, documentation and ``snnkit chips`` all read it.
"""

from dataclasses import dataclass, replace

from .errors import ConfigurationError, unknown_key_message

__all__ = ["CHIPS", "Chip", "get_chip"]


@dataclass(frozen=True)
class Chip:
    """One Xylo chip: sizes in neurons or channels, ranges in bits, event limits per time step."""

    name: str
    part: str
    """The vendor's part number, such as ``SYNS63300``."""
    title: str
    core_version: int
    """1: no bias, one saturation per update. 2: bias, and the increment saturates first."""
    max_inputs: int
    max_hidden: int
    max_outputs: int
    hidden_synapses: int
    """Synaptic states for each hidden neuron; output neurons have one on every chip."""
    max_input_expansion: int
    """Hidden neurons that may receive input: the first ones."""
    max_output_expansion: int
    """Hidden neurons that may drive outputs: the last ones."""
    max_fanout: int
    """Recurrent weights that may leave one hidden neuron (both synapses together)."""
    mean_fanout_per_synapse: int
    """Average recurrent fan-out that memory holds, per synapse bank, over ``max_hidden`` neurons."""
    has_bias: bool
    hardware: bool
    """False where only simulation is offered."""
    default_dt: float
    """Seconds."""
    default_clock: float
    """Hertz."""
    samna_module: str | None
    board: str | None
    weight_bits: int = 8
    bias_bits: int = 8
    state_bits: int = 16
    threshold_bits: int = 16
    min_dash: int = 1
    """Dash 0 clears the state before it is used: a neuron with it is silent."""
    max_dash: int = 15
    max_weight_shift: int = 7
    input_event_cap: int = 15
    hidden_event_cap: int = 31
    output_event_cap: int = 1
    max_alias_targets: int = 1

    def with_weight_bits(self, bits: int) -> "Chip":
        """Return this chip with weights of fewer bits than it has: 2 to ``weight_bits``, 8 in the table.

        What it is given to (``chip_exact``, ``for_chip``, ``deploy``) then uses integers up to
        ``2**(bits - 1) - 1`` only, which the chip itself holds all the same.

        Raises:
            ConfigurationError: another number of bits.
        """
        if bits not in range(2, self.weight_bits + 1):
            raise ConfigurationError(
                f"{self.title} ({self.name}) has weights of {self.weight_bits} bits; {bits!r} is not "
                f"possible for them: choose 2 to {self.weight_bits}."
            )
        return replace(self, weight_bits=bits)

    @property
    def max_recurrent_weights(self) -> int:
        """Recurrent weights that one synapse bank holds."""
        return self.max_hidden * self.mean_fanout_per_synapse

    @property
    def max_weight(self) -> int:
        """Largest magnitude used for weights: symmetric, so -128 is left unused."""
        return 2 ** (self.weight_bits - 1) - 1

    @property
    def max_bias(self) -> int:
        """Largest bias magnitude."""
        return 2 ** (self.bias_bits - 1) - 1

    @property
    def max_state(self) -> int:
        """Largest synaptic or membrane state; states saturate here and at ``-max_state - 1``."""
        return 2 ** (self.state_bits - 1) - 1

    @property
    def max_threshold(self) -> int:
        """Largest threshold; the smallest that makes sense is 1."""
        return 2 ** (self.threshold_bits - 1) - 1


_A2 = Chip(
    name="a2",
    part="SYNS61201",
    title="Xylo-Audio 2",
    core_version=2,
    max_inputs=16,
    max_hidden=1000,
    max_outputs=8,
    hidden_synapses=2,
    max_input_expansion=1000,
    max_output_expansion=1000,
    max_fanout=64,
    mean_fanout_per_synapse=32,
    has_bias=True,
    hardware=True,
    default_dt=1e-3,
    default_clock=50e6,
    samna_module="xyloCore2",
    board="XyloA2TestBoard",
)

_A1 = replace(
    _A2,
    name="a1",
    part="SYNS61300",
    title="Xylo-Audio 1",
    core_version=1,
    has_bias=False,
    hardware=False,
    samna_module=None,
    board=None,
)

_A3 = replace(
    _A2,
    name="a3",
    part="SYNS65302",
    title="Xylo-Audio 3",
    max_hidden=992,
    max_outputs=32,
    max_input_expansion=128,
    max_output_expansion=128,
    max_fanout=1024,
    samna_module="xyloAudio3",
    board="XyloAudio3TestBoard",
)

_IMU = Chip(
    name="imu",
    part="SYNS63300",
    title="Xylo-IMU",
    core_version=2,
    max_inputs=16,
    max_hidden=496,
    max_outputs=16,
    hidden_synapses=1,
    max_input_expansion=128,
    max_output_expansion=128,
    max_fanout=512,
    mean_fanout_per_synapse=64,
    has_bias=True,
    hardware=True,
    default_dt=5e-3,
    default_clock=50e6,
    samna_module="xyloImu",
    board="XyloImuTestBoard",
)

CHIPS: dict[str, Chip] = {chip.name: chip for chip in (_A1, _A2, _A3, _IMU)}


def get_chip(chip: str | Chip) -> Chip:
    """Return the table entry for a name (``"imu"``) or part number (``"SYNS63300"``), in any case."""
    if isinstance(chip, Chip):
        return chip
    wanted = chip.strip().lower()
    for entry in CHIPS.values():
        if wanted in (entry.name, entry.part.lower()):
            return entry
    known = [*CHIPS, *(entry.part.lower() for entry in CHIPS.values())]
    raise ConfigurationError(unknown_key_message("chip", chip, known))
