"""``deployment.json``: what turning the net into a program cost, and which program it is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import ConfigurationError, FileFormatError
from snnkit.utilities.files import read_json, write_json

if TYPE_CHECKING:
    from snnkit.hw.xylo.deployment.deploy import Deployment
    from snnkit.hw.xylo.specification.core import Specification

__all__ = ["not_deployed", "read_deployment", "write_deployment"]

_FORMAT = "snnkit deployment"
_VERSION = 1
_LAYER_NUMBERS = ("weight_error", "tau_mem_error", "tau_syn_error", "clipped_events", "saturations")
_TABLES = {
    "layers": (("path",), _LAYER_NUMBERS),
    "shift_curve": ((), ("shift", "accuracy", "saturations")),
    "resources": (("name",), ("used", "limit")),
}
"""Lists of tables: keys that hold texts, and keys that hold numbers."""


def write_deployment(
    folder: RunFolder,
    deployment: "Deployment",
    *,
    delay: int,
    shift_curve: Sequence[Mapping[str, Any]],
) -> None:
    """Write what is known of ``deployment``, with the digest of its program.

    Args:
        folder: The run.
        deployment: The deployment of its fine-tuned net.
        delay: Time steps by which the chip's outputs lag the float net's.
        shift_curve: What was known when the shifts were chosen, where the deployment itself chose none.
    """
    report = deployment.report
    table = {
        "format": _FORMAT,
        "version": _VERSION,
        "chip": report.chip,
        "specification": deployment.specification.digest,
        "delay": delay,
        "weight_shifts": list(report.weight_shifts),
        "agreement": report.agreement,
        "same_class": report.same_class,
        "saturations": report.saturations,
        "clipped_inputs": report.clipped_inputs,
        "layers": [asdict(layer) for layer in report.layers],
        "shift_curve": [asdict(point) for point in report.shift_curve] or [dict(p) for p in shift_curve],
        "resources": [asdict(resource) for resource in report.resources],
        "notes": list(report.notes),
        "orbit": None if report.orbit is None else report.orbit.to_json(),
    }
    write_json(folder.deployment, table)


def not_deployed(folder: RunFolder) -> ConfigurationError:
    """The error for a run that has no program yet."""
    return ConfigurationError(f"{folder.path} is not deployed yet. Do so with: snnkit deploy {folder.path}")


def read_deployment(folder: RunFolder, specification: "Specification") -> Mapping[str, Any]:
    """Return what :func:`write_deployment` wrote about ``specification``.

    Raises:
        ConfigurationError: the run was not deployed yet.
        FileFormatError: the file is damaged or belongs to another program.
    """
    if not folder.deployment.exists():
        raise not_deployed(folder)
    table = read_json(folder.deployment)
    if not isinstance(table, dict) or table.get("format") != _FORMAT or table.get("version") != _VERSION:
        raise FileFormatError(f"{folder.deployment} does not describe a deployment that this release reads.")
    again = f"Deploy again with: snnkit deploy {folder.path}"
    if table.get("specification") != specification.digest:
        raise FileFormatError(
            f"{folder.deployment} and {folder.specification} are of different programs. {again}"
        )
    wrong = _wrong_keys(table)
    if wrong:
        raise FileFormatError(f"{folder.deployment} is damaged at {', '.join(wrong)}. {again}")
    return table


def _wrong_keys(table: Mapping[str, Any]) -> list[str]:
    fits = {
        "delay": _is_count(table.get("delay")),
        "weight_shifts": _is_list(table.get("weight_shifts"), _is_count),
        "notes": _is_list(table.get("notes"), lambda note: isinstance(note, str)),
    }
    for key, (texts, numbers) in _TABLES.items():
        fits[key] = _is_list(table.get(key), lambda row, t=texts, n=numbers: _is_row(row, t, n))
    return [key for key, fit in fits.items() if not fit]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any, fits: Any) -> bool:
    return isinstance(value, list) and all(fits(entry) for entry in value)


def _is_row(row: Any, texts: tuple[str, ...], numbers: tuple[str, ...]) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in texts)
        and all(isinstance(row.get(key), int | float) for key in numbers)
    )
