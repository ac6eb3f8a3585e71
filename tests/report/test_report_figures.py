import math

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report extra is not installed")

from snnkit.report import EpochRecord, Histogram, ShiftPoint, figures
from snnkit.report.style import COLOURS, drawing, new_figure, to_svg


@pytest.fixture
def axes():
    with drawing():
        yield new_figure(340, 200).subplots()


def test_confusion_counts_have_true_classes_in_rows():
    counts = figures.confusion_counts(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 2]), 3)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_confusion_matrix_draws_one_cell_for_each_pair_that_occurs(axes):
    counts = np.array([[9, 1], [0, 10]])
    assert figures.confusion_matrix(axes, counts, ["a", "b"], COLOURS["chip"]) is axes
    assert len(axes.patches) == 3
    assert sorted(text.get_text() for text in axes.texts) == ["1", "10", "9"]
    strengths = {patch.get_xy(): patch.get_alpha() for patch in axes.patches}
    assert strengths[(0.5, 0.5)] > strengths[(-0.5, -0.5)] > strengths[(0.5, -0.5)]


def test_confusion_matrix_of_many_classes_leaves_out_what_cannot_be_read(axes):
    n = 40
    figures.confusion_matrix(axes, np.eye(n, dtype=int), [f"class {i}" for i in range(n)], COLOURS["chip"])
    assert not axes.texts
    assert len(axes.patches) == n


def test_long_names_keep_their_ends():
    assert figures.shorten("walking") == "walking"
    names = [figures.shorten(f"a very long word, number {i}") for i in range(20)]
    assert len(set(names)) == 20
    assert all(len(name) == 12 for name in names)


def test_raster_draws_every_event_once(axes):
    events = np.zeros((10, 4), dtype=int)
    events[2, 1] = 1
    events[7, 3] = 5
    events[9, 0] = 1
    figures.raster(axes, events, colour=COLOURS["chip"], names=["a", "b", "c", "d"])
    drawn = {
        (int(x), round(float(y) + 0.42))
        for line in axes.lines
        for x, y in line.get_xydata()[::3]
    }  # fmt: skip
    assert drawn == {(2, 1), (7, 3), (9, 0)}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b", "c", "d"]


def test_raster_marks_what_differs_strongly_where_there_are_events(axes):
    events = np.zeros((5, 2), dtype=int)
    events[1, 0] = events[2, 0] = 1
    different = np.zeros((5, 2), dtype=bool)
    different[2, 0] = different[3, 1] = True
    figures.raster(axes, events, colour=COLOURS["chip"], different=different)
    drawn = {(line.get_color(), line.get_alpha(), *line.get_xdata()[:1]) for line in axes.lines}
    assert drawn == {(COLOURS["chip"], 0.65, 1), (COLOURS["bad"], 1.0, 2), (COLOURS["bad"], 0.3, 3)}


def test_raster_names_groups_of_output_neurons(axes):
    figures.raster(axes, np.ones((5, 6), dtype=int), colour=COLOURS["chip"], names=["a", "b"])
    assert axes.get_yticks().tolist() == [1.0, 4.0]


def test_raster_of_nothing_and_of_one_step(axes):
    figures.raster(axes, np.zeros((0, 3), dtype=int), colour=COLOURS["chip"])
    figures.raster(axes, np.ones((1, 1), dtype=int), colour=COLOURS["chip"])
    assert len(axes.lines) == 1


def test_history_joins_the_stages_and_passes_over_values_that_are_not_numbers(axes):
    history = [EpochRecord("float", i, loss, 0.5) for i, loss in enumerate((1.0, math.nan, 0.5))]
    history += [EpochRecord("qat", 0, 0.4, 0.75)]
    figures.history_curve(axes, history, "loss")
    lines = [line for line in axes.lines if line.get_color() != COLOURS["line"]]
    assert [line.get_xdata().tolist() for line in lines] == [[1, 2, 3], [4]]
    assert np.isnan(lines[0].get_ydata()[1])


def test_histogram_shows_the_limits_even_when_the_values_are_far_from_them(axes):
    data = Histogram("state", [-10, 0, 10], [4, 5], -32768, 32767)
    figures.histogram(axes, data, COLOURS["chip"])
    low, high = axes.get_xlim()
    assert low < -32768
    assert high > 32767
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["-32,768", "0", "32,767"]


def test_histogram_without_limits_and_with_wide_counts(axes):
    figures.histogram(axes, Histogram("w", [0, 1, 2, 3], [100000, 3, 1]), COLOURS["tuned"])
    assert axes.get_yscale() == "log"


def test_shift_figures_mark_the_deployed_shift_and_every_count(axes):
    points = [ShiftPoint(0, 0.9, 0), ShiftPoint(1, 0.95, 12345)]
    figures.shift_accuracy(axes, points, 1)
    assert [line.get_xdata() for line in axes.lines][-1] == [1]
    with drawing():
        other = figures.shift_saturations(new_figure(340, 100).subplots(), points)
    assert [text.get_text() for text in other.texts] == ["0", "12k"]


def test_svg_follows_the_theme_and_keeps_ids_apart(axes):
    figures.raster(axes, np.ones((3, 3), dtype=int), colour=COLOURS["chip"])
    axes.set_title("a < b & $c$")
    first, second = (to_svg(axes.figure, 'told "so"', name) for name in ("one", "two"))
    assert first.startswith('<svg viewBox="0 0 340 200" role="img" aria-label="told &quot;so&quot;">')
    assert "var(--chip)" in first
    assert COLOURS["chip"] not in first
    assert "a &lt; b &amp; $c$" in first
    assert 'id="one-' in first
    assert 'id="one-' not in second
    assert "http" not in first


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib as mpl

    before = mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]
    with drawing():
        assert mpl.rcParams["text.parse_math"] is False
    assert (mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]) == before
