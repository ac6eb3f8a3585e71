"""What a device did stands in the run's report, with measured power beside the estimate."""

from dataclasses import replace
from pathlib import Path

import pytest
from report_examples import example_report

from snnkit.report import render
from snnkit.report.data import DeviceRun, ReportData

RUN = DeviceRun(
    uri="samna:XyloImuTestBoard:0", samples=40, values=969_600, different=0, findings=(),
    measured_w={"io": 1e-4, "core": 2.53e-4}, estimated="about 349 µW (estimate; 111 to 827 µW)",
    versions={"samna": "0.48.6"},
)  # fmt: skip


@pytest.mark.parametrize("different", [0, 7])
def test_the_page_tells_what_the_device_did(different: int, tmp_path: Path) -> None:
    run = replace(RUN, different=different, findings=("threshold <of> neuron 5",) if different else ())
    data = replace(example_report(), device=run)
    page = render(data)
    assert 'id="device"' in page
    assert "samna:XyloImuTestBoard:0" in page
    assert "power of core, measured" in page
    assert "253 µW" in page
    assert "about 349 µW (estimate; 111 to 827 µW)" in page
    assert ("threshold &lt;of&gt; neuron 5" in page) == bool(different)
    assert "samna 0.48.6" in page
    data.save(tmp_path)
    assert ReportData.load(tmp_path).device == run


def test_without_a_device_the_page_says_nothing_of_one() -> None:
    assert 'id="device"' not in render(example_report())
