"""``snnkit chips``: the chip table."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from snnkit.commands.terminal import print_json, show
from snnkit.utilities.chips import CHIPS, Chip, get_chip

__all__ = ["chips"]

_DERIVED = ("max_recurrent_weights", "max_weight", "max_bias", "max_state", "max_threshold")

_ROWS: tuple[tuple[str, Callable[[Chip], str]], ...] = (
    ("part number", lambda c: c.part),
    ("input channels", lambda c: f"{c.max_inputs:,}"),
    ("hidden neurons", lambda c: f"{c.max_hidden:,}"),
    ("  that may receive input", lambda c: _window("first", c.max_input_expansion, c)),
    ("  that may drive outputs", lambda c: _window("last", c.max_output_expansion, c)),
    ("  synapses of each", lambda c: f"{c.hidden_synapses}"),
    ("output neurons", lambda c: f"{c.max_outputs:,}"),
    ("recurrent weights", lambda c: _per_synapse(c.max_recurrent_weights, c)),
    ("  from one neuron, average", lambda c: _per_synapse(c.mean_fanout_per_synapse, c)),
    ("  from one neuron, at most", lambda c: f"{c.max_fanout:,}"),
    ("weights", lambda c: f"{c.weight_bits} bit, ±{c.max_weight}"),
    ("weight shift", lambda c: f"0 to {c.max_weight_shift}"),
    ("bias", lambda c: f"{c.bias_bits} bit, ±{c.max_bias}" if c.has_bias else "none"),
    ("states, saturating", lambda c: f"{c.state_bits} bit"),
    ("threshold", lambda c: f"1 to {c.max_threshold:,}"),
    ("decay dash", lambda c: f"{c.min_dash} to {c.max_dash}"),
    ("events a step: in, hidden, out", lambda c: _caps(c)),  # noqa: PLW0108 (defined below)
    ("alias targets of a neuron", lambda c: f"{c.max_alias_targets}"),
    ("default time step", lambda c: f"{c.default_dt * 1e3:g} ms"),
    ("default clock", lambda c: f"{c.default_clock / 1e6:g} MHz"),
    ("board", lambda c: (c.board or "").removesuffix("TestBoard") if c.hardware else "simulation only"),
)


def _window(which: str, size: int, chip: Chip) -> str:
    return "all" if size >= chip.max_hidden else f"the {which} {size}"


def _per_synapse(count: int, chip: Chip) -> str:
    return " + ".join([f"{count:,}"] * chip.hidden_synapses)


def _caps(chip: Chip) -> str:
    return f"{chip.input_event_cap}, {chip.hidden_event_cap}, {chip.output_event_cap}"


def _as_json(chip: Chip) -> dict[str, Any]:
    return asdict(chip) | {name: getattr(chip, name) for name in _DERIVED}


def chips(names: list[str], *, as_json: bool) -> int:
    """Print the table of the named chips, or of all."""
    shown = [get_chip(name) for name in names] or list(CHIPS.values())
    if as_json:
        print_json([_as_json(chip) for chip in shown])
        return 0
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for chip in shown:
        table.add_column(f"[bold]{chip.name}[/]\n{chip.title}", justify="right")
    for label, cell in _ROWS:
        table.add_row(label, *(cell(chip) for chip in shown))
    show(table)
    return 0
