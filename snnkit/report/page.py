"""The report as one HTML page that needs nothing else: no script, no font, no request."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from snnkit.report import panels, words
from snnkit.report.data import ReportData, Resource
from snnkit.report.stages import STAGES
from snnkit.report.style import COLOURS, drawing
from snnkit.utilities.backends import require
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["draw", "render"]

_LISTED_DISAGREEMENTS = 12


@dataclass(frozen=True)
class _Headline:
    colour: str
    title: str
    percent: str
    detail: str


@dataclass(frozen=True)
class _Bar:
    name: str
    used: str
    limit: str
    percent: float
    state: str


def draw(data: ReportData) -> dict[str, Any]:
    """Return the page's drawings, the slow part of :func:`render`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with drawing():
        return _drawings(data)


def render(data: ReportData, drawings: Mapping[str, Any] | None = None) -> str:
    """Return the page for ``data``; the same data give the same text.

    Args:
        data: What to show.
        drawings: From :func:`draw` of the same data; drawn here if they are not given.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    context = draw(data) if drawings is None else drawings
    return _template().render(
        data=data,
        chip=_chip_words(data.chip),
        colours=COLOURS,
        headlines=_headlines(data),
        verdict=_verdict(data),
        bars=[_bar(resource) for resource in data.resources if resource.used or resource.limit],
        disagreements=_disagreements(data),
        tuned=STAGES[_tuned(data) or "qat"].training,
        **context,
    )


def _drawings(data: ReportData) -> dict[str, Any]:
    return {
        "history": panels.history_panel(data) if data.history else None,
        "confusions": panels.confusion_panels(data),
        "rasters": panels.raster_panels(data),
        "weights": panels.histogram_panels(data.weight_histograms, "weight"),
        "states": panels.histogram_panels(data.state_histograms, "state"),
        "shift": panels.shift_panel(data) if data.shift_curve else None,
    }


@cache
def _template() -> "Template":
    require("jinja2", "report", "The report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("snnkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in words.__all__}
    return environment.get_template("report.html.j2")


def _chip_words(name: str) -> str:
    try:
        chip = get_chip(name)
    except ConfigurationError:  # a chip of another release
        return name
    return f"{chip.title} ({chip.part})"


def _headlines(data: ReportData) -> list[_Headline]:
    found = []
    for key, stage in STAGES.items():
        if key not in data.accuracy:
            continue
        detail = ""
        if key in data.predictions:
            right = int((data.predictions[key] == data.labels).sum())
            detail = f"{right} of {data.labels.size} right"
        if key != "float" and "float" in data.accuracy:
            change = words.points(data.accuracy[key] - data.accuracy["float"], same="as float")
            detail = ", ".join(text for text in (detail, change) if text)
        found.append(_Headline(stage.colour, stage.title, words.percent(data.accuracy[key]), detail))
    return found


def _tuned(data: ReportData) -> str | None:
    """The stage of the fine-tuned net, if there is one."""
    return next(
        (key for key, stage in STAGES.items() if stage.colour == "tuned" and key in data.accuracy), None
    )


def _verdict(data: ReportData) -> str:
    """Say in how many recordings chip and net give the same answer."""
    net = _tuned(data) or "float"
    if net not in data.predictions or "chip" not in data.predictions:
        return ""
    same = int((data.predictions[net] == data.predictions["chip"]).sum())
    n = data.labels.size
    count = f"all {n}" if same == n else f"{same} of {n}"
    return f"The chip gives the trained net's answer on {count} test recordings."


def _bar(resource: Resource) -> _Bar:
    used, limit = words.number(resource.used), words.number(resource.limit)
    return _Bar(resource.name, used, limit, min(resource.share, 1.0) * 100, resource.state)


def _disagreements(data: ReportData) -> dict[str, Any]:
    """List recordings that float net, fine-tuned net and chip do not all answer rightly."""
    keys = [key for key in STAGES if key in data.predictions]
    wrong = np.zeros(data.labels.size, dtype=bool)
    for key in keys:
        wrong |= data.predictions[key] != data.labels
    rows = []
    for index in np.flatnonzero(wrong)[:_LISTED_DISAGREEMENTS]:
        label = int(data.labels[index])
        answers = [int(data.predictions[key][index]) for key in keys]
        told = [(data.classes[answer], answer == label) for answer in answers]
        rows.append({"index": int(index), "label": data.classes[label], "answers": told})
    return {"keys": [STAGES[key].title for key in keys], "rows": rows, "count": int(wrong.sum())}
