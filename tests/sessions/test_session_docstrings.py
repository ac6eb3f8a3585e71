"""Examples in docstrings print what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["session", "in_the_loop"])
def test_docstring_examples_hold(module: str) -> None:
    results = doctest.testmod(import_module(f"snnkit.hw.sessions.{module}"))
    assert results.attempted > 5
    assert results.failed == 0
