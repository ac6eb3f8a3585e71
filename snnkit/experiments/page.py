"""The page of an experiment as Markdown: how to read it, figures, tables, checks against theory."""

from collections.abc import Iterable, Sequence
from typing import Any

from snnkit.experiments.findings import Check, Findings, Table

__all__ = ["cell", "check_table", "page"]


def page(title: str, begun_with: dict[str, Any], findings: Findings, figures: Iterable[str]) -> str:
    """Return the page; ``figures`` are paths relative to it."""
    command = f"snnkit {begun_with['version']}, seed {begun_with['seed']}"
    parts = [f"# {title}", f"`{begun_with['experiment']}`, {command}.", findings.reading]
    parts += [f"![{path.rsplit('/')[-1].rsplit('.')[0]}]({path})" for path in figures]
    parts += [_markdown(table) for table in findings.tables]
    if findings.checks:
        parts.append(_markdown(check_table(findings.checks)))
    return "\n\n".join(parts) + "\n"


def check_table(checks: Sequence[Check]) -> Table:
    """Return checks as a table."""
    rows = tuple(
        (check.name, check.measured, check.demand, check.law, "holds" if check.passed else "FAILS")
        for check in checks
    )
    return Table("Against theory", ("measured", "value", "expected", "law", ""), rows)


def cell(value: str | int | float | None) -> str:
    """Return one entry as text: numbers of four significant digits, a dash for None."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _markdown(table: Table) -> str:
    rows = [[_escaped(cell(value)) for value in row] for row in table.rows]
    lines = [table.columns, ["---"] * len(table.columns), *rows]
    return f"**{table.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
