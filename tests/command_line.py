"""Calls the command line as a process of its own."""

import os
import re
import subprocess
import sys


def call(*arguments, cwd=None, timeout=120, **environment):
    """Run ``python -m snnkit`` and return the finished process."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=surroundings(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def command(*arguments):
    return [sys.executable, "-m", "snnkit", *map(str, arguments)]


def surroundings(**environment):
    """One thread and a wide terminal, whatever the tests themselves run in."""
    return {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **environment}


def plain(text):
    """Undo the folding and framing of messages."""
    return re.sub(r"[\s│]+", " ", text)
