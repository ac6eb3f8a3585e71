"""Runs what a page of the documentation shows, beside what the page says that it prints."""

import contextlib
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"


def page(name: str) -> str:
    """Return the text of a page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


@dataclass
class PageRun:
    """What a page did: block by block.

    Attributes:
        kinds: ``python`` or ``text``, in the page's order.
        printed: by each python block.
        shown: each text block.
        pairs: what a python block printed, and the text block right after it.
        names: the variables at the end.
    """

    kinds: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)

    def differing(self) -> list[tuple[str, str]]:
        """Return the pairs that are not the same but for space at their ends."""
        return [(printed, said) for printed, said in self.pairs if printed.strip() != said.strip()]


def run_page(name: str) -> PageRun:
    """Run all python blocks of a page of docs/, one after the other, in one set of names."""
    run = PageRun()
    for kind, content in re.findall(r"```(python|text)\n(.*?)```", page(name), flags=re.DOTALL):
        run.kinds.append(kind)
        if kind == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(content, f"docs/{name}", "exec"), run.names)
            run.printed.append(stream.getvalue())
        else:
            run.shown.append(content)
            if run.kinds[-2:-1] == ["python"]:
                run.pairs.append((run.printed[-1], content))
    return run
