import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_examples import example_report

pytest.importorskip("matplotlib", reason="the report extra is not installed")
pytest.importorskip("jinja2", reason="the report extra is not installed")

from snnkit.report import Exactness, Resource, ShiftPoint, page, render, words

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Elements(HTMLParser):
    """Collects elements, texts, and whether every element is closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


@pytest.fixture(scope="module")
def example():
    return example_report()


@pytest.fixture(scope="module")
def html(example):
    return render(example)


@pytest.fixture(scope="module")
def elements(html):
    return Elements(html)


def test_the_page_asks_for_nothing_from_elsewhere(html, elements):
    assert not [tag for tag, _ in elements.elements if tag in ("script", "iframe", "object", "embed")]
    for reference in elements.attributes("src") + elements.attributes("href"):
        assert reference.startswith(("data:", "#"))
    assert not re.search(r"https?://|//[a-z]|@import|@font-face", html)
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_every_reference_inside_the_page_has_one_target(html, elements):
    ids = elements.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = {href[1:] for href in elements.attributes("href") if href.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert wanted <= set(ids)


def test_every_drawing_has_an_alternative_text(elements):
    drawings = [attrs for tag, attrs in elements.elements if tag == "svg"]
    assert len(drawings) == 3 + 2 + 2 + 5
    for attrs in drawings:
        assert attrs["role"] == "img"
        assert len(attrs["aria-label"]) > 30


def test_the_headline_gives_the_accuracies(elements):
    assert "Float 97.5 % 39 of 40 right Quantised 97.5 % 39 of 40 right, as float Chip" in elements.text
    assert "The chip gives the trained net's answer on all 40 test recordings." in elements.text


def test_the_first_difference_is_told(example, elements):
    found = example.divergence
    assert found is not None
    told = f"First difference at time step {found.time} of recording 3, in layer 1_LIFTorch , neuron"
    assert f"{told} {found.neuron}." in elements.text
    assert found.reason in elements.text


def test_no_difference_is_said_as_such(example):
    text = Elements(render(replace(example, divergence=None))).text
    assert "No difference. On 40 recordings the chip's program produced every event" in text
    assert "First difference" not in text


def test_zero_difference_is_proven_in_numbers():
    data = example_report(exact=True)
    text = Elements(render(data)).text
    assert "Zero difference between the trained net's own forward pass and the simulation" in text
    assert "on 40 test recordings" in text
    assert "events that differ 0 of 9,840 states that differ 0 of 19,680" in text
    assert "Chip-exact 97.5 % 39 of 40 right" in text
    assert "chip-exact training" in text
    assert "First difference" not in text


def test_a_broken_promise_is_not_called_zero(example):
    text = Elements(render(replace(example, exactness=Exactness(10, 20, 1, 0)))).text
    assert "Zero difference" not in text
    assert "Differences between the trained net's own forward pass" in text
    assert "events that differ 1 of 10" in text


def test_resources_versions_and_the_command_are_there(elements):
    for told in (
        "hidden neurons 60 of 496",
        "1.25 MHz",
        "290 µW",
        "5,123",
        "snnkit run recipe.toml",
        "holds every setting, seed 1 among them",
        "torch 2.13.0",
        "1_LIFTorch – 2.1 % 3 0",
        "standing badminton badminton badminton",
    ):
        assert told in elements.text, told


def test_a_resource_beyond_its_limit_is_marked(example):
    html = render(
        replace(example, resources=(Resource("hidden neurons", 600, 496), Resource("biases", 1, 0)))
    )
    assert html.count('class="bar over"') == 2
    assert html.count("width: 100.00%") == 2


def test_the_same_data_give_the_same_page(example, html):
    assert render(example) == html


def test_the_page_is_small(html):
    assert len(html.encode()) < 400_000


def test_names_are_text_and_never_markup(example):
    evil = '<script>alert("1")</script> & $x$'
    classes = (evil, "b", "c", "d")
    html = render(replace(example, title=evil, classes=classes, notes=(evil,), command=evil, recipe=evil))
    assert "<script" not in html
    assert Elements(html).text.count(evil) >= 4


def test_sparse_data_still_make_a_page(example):
    data = replace(
        example,
        history=(),
        shift_curve=(),
        weight_histograms=(),
        state_histograms=(),
        resources=(),
        deployment=(),
        divergence=None,
        versions={},
        predictions={"chip": example.predictions["chip"]},
        accuracy={"chip": 0.975},
        timing=replace(example.timing, power_w=None, dt=None),
        chip="xylo-of-tomorrow",
    )
    text = Elements(render(data)).text
    assert "xylo-of-tomorrow" in text
    assert "power, estimated" not in text
    assert "What integers cost" not in text


def test_many_classes_and_silent_traces(example):
    classes = tuple(f"word number {i}" for i in range(35))
    data = example_report(classes, samples=70, hidden=20, delay=2, wrong=(3, 5, 9))
    silent = replace(data.sample, chip_output=np.zeros_like(data.sample.chip_output))
    html = render(replace(data, sample=silent, shift_curve=(ShiftPoint(0, 1.0, 0),)))
    elements = Elements(html)
    assert "its output comes 2 steps after the net's" in elements.text
    assert "recordings answered wrongly at some stage" in elements.text


def test_missing_matplotlib_names_the_extra(example, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "snnkit\[report\]"'):
        page.render(example)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (words.percent(0.975), "97.5 %"),
        (words.percent(0.97), "97.0 %"),
        (words.percent(1), "100 %"),
        (words.percent(0.9999), "99.9 %"),
        (words.points(-0.025), "−2.5 points"),
        (words.points(0.0001), "no difference"),
        (words.number(31744), "31,744"),
        (words.number(0.123456), "0.12"),
        (words.number(0.00012), "0.00012"),
        (words.hertz(1.25e6), "1.25 MHz"),
        (words.hertz(0.2), "0.2 Hz"),
        (words.watts(2.9e-4), "290 µW"),
        (words.watts(1.5), "1.5 W"),
        (words.seconds(74.2), "1 min 14 s"),
        (words.seconds(4.25), "4.2 s"),
        (words.relative_error(None), "–"),
        (words.relative_error(0.0031), "0.31 %"),
        (words.relative_error(2.4e-8), "< 0.001 %"),
        (words.relative_error(0.0), "0 %"),
    ],
)
def test_numbers_in_words(told, wanted):
    assert told == wanted
