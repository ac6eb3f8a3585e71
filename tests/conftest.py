"""What every test shares: examples, threads, and the switch that forbids skipped oracle tests."""

import os

import hypothesis
import pytest

# Two test processes with two threads each would fight over two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no reason to fail; CI draws the same examples each time, developers draw new ones.
hypothesis.settings.register_profile("snnkit", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "snnkit")

NO_SKIPS = "SNNKIT_FORBID_SKIPS"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With SNNKIT_FORBID_SKIPS set, a skipped test fails the run: CI sets it for the oracle tests."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get(NO_SKIPS) and skipped:
        terminalreporter.section("skipped tests are forbidden in this run")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a green run with skips into a failed one where skips are forbidden."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get(NO_SKIPS) and reporter and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
