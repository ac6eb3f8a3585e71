"""A specification as the vendor's configuration JSON, for a machine that has the kit."""

from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError

from ..specification.core import Specification
from .conversion import configuration_from_specification, specification_from_configuration
from .objects import A2Configuration, configuration_class

__all__ = ["specification_from_json", "specification_to_json"]


def specification_to_json(spec: Specification) -> str:
    """Return the JSON that ``samna`` reads for this program (Xylo-Audio 2 only).

    Raises:
        ConfigurationError: for the other chips, whose JSON is not publicly known.
        MappingError: if the configuration has no place for the program.
    """
    if not configuration_class(spec.chip).json_confirmed:
        title = get_chip(spec.chip).title
        raise ConfigurationError(
            f"The vendor's JSON is confirmed for Xylo-Audio 2 only, this program is for {title}. Keep it "
            "with save(), and set the attributes of samna's own object on the machine with the kit."
        )
    return configuration_from_specification(spec).to_json()


def specification_from_json(text: str, dt: float | None = None) -> Specification:
    """Read the JSON that ``samna`` writes for a Xylo-Audio 2.

    Args:
        text: what ``config.to_json()`` returned.
        dt: time step in seconds, which is not part of it; the chip's default if left out.

    Raises:
        FileFormatError: if the text is damaged or not a configuration of this chip.
        ConfigurationError: if a feature is used but switched off.
    """
    config = A2Configuration()
    config.from_json(text)
    return specification_from_configuration(config, dt)
