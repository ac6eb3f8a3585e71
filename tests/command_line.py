"""Calls the command line, as a process of its own or, to save the start of torch, in this one."""

import contextlib
import io
import os
import re
import subprocess
import sys
from unittest import mock

from snnkit.cli import main


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


def call_here(*arguments, cwd="."):
    """Do the same in this process: the same words and exit code, without the seconds that imports take."""
    words, complaints = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, {"COLUMNS": "200"}),
        mock.patch.object(sys, "argv", ["snnkit", *map(str, arguments)]),
        contextlib.redirect_stdout(words),
        contextlib.redirect_stderr(complaints),
    ):
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    return subprocess.CompletedProcess(arguments, code, words.getvalue(), complaints.getvalue())


def command(*arguments):
    return [sys.executable, "-m", "snnkit", *map(str, arguments)]


def surroundings(**environment):
    """One thread and a wide terminal, whatever the tests themselves run in."""
    return {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **environment}


def plain(text):
    """Undo the folding and framing of messages."""
    return re.sub(r"[\s│]+", " ", text)
