"""The three ways in which a module can store its leaks, and the conversions between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from snnkit.nn import leaks
from snnkit.utilities.errors import ParameterError, unknown_key_message

__all__ = [
    "LEAK_ATTRIBUTES",
    "LEAK_MODES",
    "LeakMode",
    "check_leak_arguments",
    "convert_leak",
    "leak_mode_named",
]


@dataclass(frozen=True)
class LeakMode:
    """Names of the two leaks that are parameters in this mode; their family has the name of the mode."""

    family: str
    membrane: str
    synapse: str
    default: float

    def __iter__(self) -> Iterator[str]:
        return iter((self.membrane, self.synapse))


LEAK_MODES = {
    "taus": LeakMode("taus", "tau_mem", "tau_syn", 20e-3),
    "decays": LeakMode("decays", "alpha", "beta", 0.5),
    "bitshifts": LeakMode("bitshifts", "dash_mem", "dash_syn", 1.0),
}

LEAK_ATTRIBUTES = {name: mode for mode in LEAK_MODES.values() for name in mode}

_Conversion = Callable[[float, Tensor], tuple[Tensor, ...]]
_CONVERSIONS: dict[tuple[str, str], _Conversion] = {
    ("taus", "decays"): leaks.tau_to_decay,
    ("taus", "bitshifts"): leaks.tau_to_bitshift,
    ("decays", "taus"): leaks.decay_to_tau,
    ("decays", "bitshifts"): lambda _dt, decay: leaks.decay_to_bitshift(decay),
    ("bitshifts", "taus"): leaks.bitshift_to_tau,
    ("bitshifts", "decays"): lambda _dt, dash: leaks.bitshift_to_decay(dash),
}


def convert_leak(value: Tensor, source: str, target: str, dt: float) -> Tensor:
    """Return a leak stated in mode ``source`` as mode ``target`` states it."""
    return value if source == target else _CONVERSIONS[source, target](dt, value)[0]


def leak_mode_named(name: str, where: str) -> LeakMode:
    """Return the leak mode called ``name``.

    Raises:
        ParameterError: there is none.
    """
    if name not in LEAK_MODES:
        raise ParameterError(f"{where}: {unknown_key_message('leak_mode', str(name), LEAK_MODES)}")
    return LEAK_MODES[name]


def check_leak_arguments(mode: LeakMode, given: dict[str, object], where: str) -> None:
    """Refuse leaks of another family than that of the mode.

    Raises:
        ParameterError: ``given`` holds a value that is not None for an attribute of another mode.
    """
    wrong = [name for name, value in given.items() if value is not None and LEAK_ATTRIBUTES[name] is not mode]
    if wrong:
        other = LEAK_ATTRIBUTES[wrong[0]].family
        raise ParameterError(
            f"{where}: leak_mode is {mode.family!r}, with parameters {mode.membrane} and {mode.synapse}; "
            f"{', '.join(wrong)} cannot be given with it. Pass leak_mode={other!r}, or convert the value."
        )
