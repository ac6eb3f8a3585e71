import socket

import numpy as np
import pytest

from snnkit.data import bundled, load_basic_motions, load_japanese_vowels
from snnkit.utilities.errors import DataError, MissingDependencyError


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_basic_motions_is_the_archives_split(no_network):
    pytest.importorskip("aeon", reason="the data extra is not installed")
    split = load_basic_motions()
    assert (len(split.train), len(split.test), split.train.channels) == (40, 40, 6)
    assert {signal.shape for signal in (*split.train.signals, *split.test.signals)} == {(100, 6)}
    assert split.train.classes == ("badminton", "running", "standing", "walking")
    assert np.bincount(split.test.labels).tolist() == [10, 10, 10, 10]


def test_japanese_vowels_keeps_lengths(no_network):
    pytest.importorskip("aeon", reason="the data extra is not installed")
    split = load_japanese_vowels()
    assert (len(split.train), len(split.test), split.train.channels) == (270, 370, 12)
    lengths = {len(signal) for signal in (*split.train.signals, *split.test.signals)}
    assert (min(lengths), max(lengths)) == (7, 29)
    assert np.bincount(split.train.labels).tolist() == [30] * 9


def test_without_aeon_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"snnkit\[data\]"):
        load_basic_motions()


def test_a_set_that_is_not_bundled_is_never_downloaded(monkeypatch, tmp_path, no_network):
    monkeypatch.setattr(bundled, "_bundled_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="does not bundle BasicMotions"):
        load_basic_motions()
