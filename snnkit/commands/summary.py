"""What a finished run prints: accuracies, use of the chip, clock and power, net against chip, report."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from snnkit.hw.divergence.result import Divergence
from snnkit.hw.xylo.mapping.resource import Resource
from snnkit.report import words
from snnkit.report.data import Exactness, ReportData
from snnkit.report.stages import STAGES
from snnkit.utilities.chips import get_chip

__all__ = [
    "difference_text",
    "exactness_text",
    "report_line",
    "resource_table",
    "run_as_json",
    "run_summary",
]

_BAR_CELLS = 16
_COUNTABLE = 2
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STATE_COLOURS = {"fine": "cyan", "tight": "yellow", "over": "red"}


def report_line(report: Path) -> str:
    """Return the summary's last line for :func:`snnkit.commands.terminal.show_whole`."""
    return f"  [dim]report      [/]  [bold]{escape(str(report))}[/]"


def run_summary(data: ReportData) -> RenderableType:
    """Return the summary of a run for :func:`snnkit.commands.terminal.show`, all but its last line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=0)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("", "accuracy", _accuracies(data))
    table.add_row(
        "", "chip", Group(resource_table([r for r in data.resources if r.used and r.limit > _COUNTABLE]), "")
    )
    table.add_row("", "timing", _timing(data))
    table.add_row("", "net and chip", _difference(data))
    table.add_row("", "run time", words.seconds(data.seconds))
    chip = get_chip(data.chip)
    on = chip.part if chip.title in data.title else chip.title
    head = f"[bold]{escape(data.title)}[/]  [dim]{on}, seed {data.seed}[/]"
    return Group("", head, "", table)


def _accuracies(data: ReportData) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="left", min_width=16)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for key, stage in STAGES.items():
        if key not in data.accuracy:
            continue
        told = ""
        if key in data.predictions:
            right = int(np.count_nonzero(data.predictions[key] == data.labels))
            told = f"{right} of {data.labels.size} test recordings"
        style = "bold green" if key == "chip" else ""
        table.add_row(stage.title.lower(), Text(words.percent(data.accuracy[key]), style=style), told)
    return Group(table, "")


def resource_table(resources: Sequence[Resource]) -> Table:
    """Return one row for each resource: name, use against limit, a bar."""
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for resource in resources:
        if not resource.used and not resource.limit:
            continue  # a chip without biases, a net without biases: nothing to tell
        used = f"{words.number(resource.used)} of {words.number(resource.limit)}"
        colour = _STATE_COLOURS[resource.state]
        style = "bold red" if resource.state == "over" else ""
        table.add_row(resource.name, Text(used, style=style), _bar(resource, colour))
    return table


def _bar(resource: Resource, colour: str) -> Text:
    eighths = round(min(resource.share, 1.0) * _BAR_CELLS * 8)
    if resource.used > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    filled = "█" * full + (_EIGHTHS[rest] if rest else "")
    bar = Text(filled, style=colour) + Text("·" * (_BAR_CELLS - len(filled)), style="dim")
    return bar + Text("  too much", style="bold red") if resource.state == "over" else bar


def _timing(data: ReportData) -> str:
    timing = data.timing
    step = f" of {timing.dt * 1e3:g} ms" if timing.dt else ""
    text = (
        f"{words.number(round(timing.cycles_per_step))} cycles a step{step}, {words.hertz(timing.clock_hz)}"
    )
    if timing.power_w is not None:
        text += f", about {words.watts(timing.power_w)}"
    return text


def _difference(data: ReportData) -> Text:
    if data.exactness is not None:
        return Text(exactness_text(data.exactness), style="green" if data.exactness.exact else "bold red")
    if data.divergence is None:
        where = f" in {data.compared_samples} recordings" if data.compared_samples else ""
        return Text("no difference", style="green") + Text(where, style="default")
    return Text(difference_text(data.divergence))


def exactness_text(found: Exactness) -> str:
    """Say how much of a chip-exact net and the simulation of its program differs."""
    if found.exact:
        return f"zero difference: all {found.events:,} events and {found.states:,} states are the same"
    return (
        f"{found.differing_events:,} of {found.events:,} events and {found.differing_states:,} of "
        f"{found.states:,} states differ"
    )


def difference_text(found: Divergence | None) -> str:
    """Say where net and chip first differ, and why."""
    if found is None:
        return "no difference"
    values = f"net {words.number(found.a_value)}, chip {words.number(found.b_value)}"
    return (
        f"first difference at step {found.time} of recording {found.sample}, {found.layer} neuron "
        f"{found.neuron}: {values}. {words.sentence(found.reason)}"
    )


def run_as_json(data: ReportData, folder: Path, report: Path) -> dict[str, Any]:
    """Return the summary as plain JSON values."""
    timing, divergence = data.timing, data.divergence
    return {
        "folder": str(folder),
        "report": str(report),
        "recipe": data.recipe,
        "chip": data.chip,
        "seed": data.seed,
        "seconds": data.seconds,
        "accuracy": dict(data.accuracy),
        "test_recordings": int(data.labels.size),
        "resources": [{"name": r.name, "used": r.used, "limit": r.limit} for r in data.resources],
        "timing": {
            "cycles_per_step": timing.cycles_per_step,
            "clock_hz": timing.clock_hz,
            "power_w": timing.power_w,
            "dt": timing.dt,
        },
        "exactness": None if data.exactness is None else asdict(data.exactness),
        "divergence": None if divergence is None else divergence.to_json(),
        "compared_samples": data.compared_samples,
    }
