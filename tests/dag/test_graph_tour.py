"""What docs/graphs.md shows, runs, and its pictures are those that it draws."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")


def test_the_tour_runs_and_draws_the_pictures_of_the_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("igraph", reason="pictures of graphs need the drawing extra")
    monkeypatch.chdir(tmp_path)
    tour = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
    exec(compile(tour, "docs/graphs.md", "exec"), {"__name__": "tour"})
    assert "['blocks.0.conv', 'blocks.1.conv']" in capsys.readouterr().out
    for name in ("net", "wavesense"):
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert drawn == (ROOT / "docs" / "images" / f"graph-{name}.svg").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!https?:)[^)]+)\)", PAGE))))
def test_links_lead_to_files(target):
    assert (ROOT / "docs" / target).exists()
