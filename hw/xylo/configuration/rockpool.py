"""Rockpool's functions around chip configurations: make, validate, save and load."""

from pathlib import Path
from typing import Any

from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import FileFormatError, SnnkitError
from snnkit.utilities.files import write_text

from ..specification.core import Specification
from ..specification.rockpool_dict import from_rockpool_dict
from .conversion import configuration_from_specification, specification_from_configuration
from .objects import XyloConfiguration, configuration_class

__all__ = ["config_from_specification", "load_config", "save_config", "validate_configuration"]


def config_from_specification(  # noqa: PLR0917 - Rockpool's order
    weights_in: Any,
    weights_out: Any,
    weights_rec: Any = None,
    dash_mem: Any = None,
    dash_mem_out: Any = None,
    dash_syn: Any = None,
    dash_syn_2: Any = None,
    dash_syn_out: Any = None,
    threshold: Any = None,
    threshold_out: Any = None,
    bias_hidden: Any = None,
    bias_out: Any = None,
    weight_shift_in: int = 0,
    weight_shift_rec: int = 0,
    weight_shift_out: int = 0,
    aliases: Any = None,
    *,
    bias: Any = None,
    dt: float | None = None,
    mapped_graph: Any = None,
    chip: str | Chip,
) -> tuple[XyloConfiguration, bool, str]:
    """Make a chip configuration from a quantised Rockpool specification: ``(**spec, chip=...)``.

    ``bias`` and ``bias_hidden`` are two names of one argument. Left out: dashes 1, thresholds 0.
    ``dt`` and ``mapped_graph`` may be given and are not part of a configuration.

    Returns:
        The configuration, whether the chip takes it, and every reason why not.

    Raises:
        SpecificationError: if values are not whole numbers or do not fit each other.
        MappingError: if a configuration of this chip has no place for what is asked.
    """
    given = {name: value for name, value in locals().items() if name != "chip"}
    spec = from_rockpool_dict(given, chip)
    return (configuration_from_specification(spec), *_verdict(spec))


def validate_configuration(config: Any) -> tuple[bool, str]:
    """Return whether the chip takes ``config``, and a message with every reason why not."""
    try:
        return _verdict(specification_from_configuration(config))
    except SnnkitError as error:
        return False, str(error)


def save_config(config: Any, filename: str | Path) -> Path:
    """Write a configuration, ours or the vendor's, as the vendor's JSON; return the path."""
    return write_text(filename, config.to_json())


def load_config(filename: str | Path, *, chip: str | Chip) -> XyloConfiguration:
    """Read the vendor's JSON of a configuration of ``chip``.

    Raises:
        FileFormatError: if the file is missing, damaged or not of this chip.
    """
    try:
        text = Path(filename).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{filename} cannot be read: {error}") from error
    config = configuration_class(chip)()
    try:
        config.from_json(text)
    except FileFormatError as error:
        title = get_chip(chip).title
        raise FileFormatError(f"{filename} is not a configuration of {title}: {error}") from error
    return config


def _verdict(spec: Specification) -> tuple[bool, str]:
    violations = spec.violations()
    return not violations, "\n".join(str(v) for v in violations)
