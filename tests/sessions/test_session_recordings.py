"""A recorded session: byte for byte the same, and nothing else than what was recorded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sessions.session_programs import program, rasters

from snnkit.hw import connect
from snnkit.hw.fake_samna import FakeSamna, Faults
from snnkit.hw.sessions import ReadoutLost, ReplayMismatch, Session
from snnkit.hw.sessions.recording import Recording
from snnkit.hw.sessions.replay import ReplaySession
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays


def lab_session(session: Session) -> list[np.ndarray]:
    """What a lab might do: one recording, a batch with power, a reset."""
    session.configure(program("imu"))
    found = []
    for raster, power in ((rasters(samples=1)[0], False), (rasters(), True)):
        output, state, record = session.run(raster, record=True, power=power)
        found += [output, *state.values(), *record.values()]
    measured = session.power().measured
    assert measured is not None
    found += list(measured.channels.values())
    session.reset()
    return found


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "session.xrec"
    with connect("fake:imu", record_to=path) as session:
        lab_session(session)
    return path


def test_a_replay_is_equal_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "session.xrec"
    with connect("fake:imu", record_to=path) as session:
        first = lab_session(session)
    with connect(f"replay:{path}") as session:
        assert (session.chip.name, session.uri) == ("imu", f"replay:{path}")
        again = lab_session(session)
    assert [(a.dtype, a.shape, a.tobytes()) for a in first] == [
        (a.dtype, a.shape, a.tobytes()) for a in again
    ]


def test_a_replay_can_be_recorded_again_and_has_the_same_answers(recorded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.xrec"
    with connect(f"replay:{recorded}", record_to=copy) as session:
        lab_session(session)
    one, other = Recording.load(recorded), Recording.load(copy)
    assert [o.kind for o in one.operations] == ["configure", "run", "run", "reset"]
    assert [dict(o.told) for o in one.operations] == [dict(o.told) for o in other.operations]
    assert one.versions["samna"] == "0.48.6"
    assert {"snnkit", "fxtree", "unifirm"} <= one.versions.keys()


def test_equal_recordings_are_equal_files(recorded: Path, tmp_path: Path) -> None:
    copy = Recording.load(recorded).save(tmp_path / "copy.xrec")
    assert copy.read_bytes() == recorded.read_bytes()


def test_programs_and_rasters_can_be_taken_out(recorded: Path) -> None:
    session = ReplaySession(recorded)
    assert session.specifications == (program("imu"),)
    np.testing.assert_array_equal(session.recording.operations[2].arrays["raster"], rasters())


def test_failures_are_recorded_and_come_again(tmp_path: Path) -> None:
    path = tmp_path / "failed.xrec"
    driver = FakeSamna(["imu"], faults=Faults(dropped_readouts=1))
    for uri, options in (
        ("samna:", {"driver": driver, "retries": 0, "record_to": path}),
        (f"replay:{path}", {}),
    ):
        with connect(uri, **options) as session:
            session.configure(program("imu"))
            with pytest.raises(ReadoutLost, match="missing"):
                session.run(rasters())
            session.reset()
            assert session.run(rasters())[0].any()


def test_anything_else_than_was_recorded_is_refused(recorded: Path) -> None:
    session = connect(f"replay:{recorded}")
    with pytest.raises(ReplayMismatch, match=r"another program .* differs in weights_in"):
        session.configure(program("imu", seed=5))
    session.configure(program("imu"))
    raster = rasters(samples=1)[0]
    changed = raster.copy()
    changed[4, 1] += 1
    with pytest.raises(ReplayMismatch, match=r"first at \(0, 4, 1\)"):
        session.run(changed, record=True)
    for again, says in (
        (lambda: session.run(raster[:3], record=True), r"\(1, 20, 3\) was recorded here, not \(1, 3, 3\)"),
        (lambda: session.run(raster), "wanted = "),
        (lambda: session.run(raster, record=True, power=True), "power = False"),
        (session.reset, "run was recorded here, not reset"),
    ):
        fresh = session._next
        session._condition = "rest"
        with pytest.raises(ReplayMismatch, match=says):
            again()
        assert session._next == fresh
    session._condition = "rest"
    session.run(raster, record=True)
    session.run(rasters(), record=True, power=True)
    session.reset()
    with pytest.raises(ReplayMismatch, match="all done"):
        session.reset()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_file_is_refused(recorded: Path, share: float) -> None:
    content = recorded.read_bytes()
    recorded.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError):
        connect(f"replay:{recorded}")


def test_a_changed_byte_is_found_wherever_it_is(recorded: Path) -> None:
    content = recorded.read_bytes()
    for place in np.linspace(8, len(content) - 1, 60).astype(int):
        altered = bytearray(content)
        altered[place] ^= 0x01
        recorded.write_bytes(bytes(altered))
        with pytest.raises(FileFormatError):
            connect(f"replay:{recorded}")


def test_hostile_files_are_refused_without_running_anything(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="does not exist"):
        connect(f"replay:{tmp_path / 'none.xrec'}")
    other = write_arrays(tmp_path / "other.xrec", {"a": np.zeros(3)}, {"format": "something"})
    with pytest.raises(FileFormatError, match="no recording"):
        connect(f"replay:{other}")
    arrays, metadata = read_arrays(recorded)
    newer = write_arrays(tmp_path / "newer.xrec", arrays, metadata | {"version": "2"})
    with pytest.raises(FileFormatError, match="reads version 1"):
        connect(f"replay:{newer}")
    import hashlib

    for text in ("[]", '{"operations": [{"kind": "run"}]}', "[" * 100000, '{"chip": 3}'):
        digest = hashlib.sha256(text.encode()).hexdigest()
        forged = {"format": "snnkit session", "version": "1", "session": text, "sha256": digest}
        path = write_arrays(tmp_path / "forged.xrec", {}, forged)
        with pytest.raises(FileFormatError, match="no readable recording"):
            connect(f"replay:{path}")


def test_an_answer_that_does_not_fit_its_question_is_refused_even_with_a_right_checksum(
    recorded: Path, tmp_path: Path
) -> None:
    whole = Recording.load(recorded)
    configured, run, *_ = whole.operations
    for name in ("record.Spikes_out", "record.Vmem", "state.isyn"):
        short = replace(run, arrays={**run.arrays, name: run.arrays[name][..., :1]})
        path = replace(whole, operations=(configured, short)).save(tmp_path / "short.xrec")
        with connect(f"replay:{path}") as session:
            session.configure(program("imu"))
            with pytest.raises(FileFormatError, match="operation 1: the answer is not whole"):
                session.run(rasters(samples=1)[0], record=True)
    silent = replace(configured, told={"specification": configured.told["specification"]})
    path = replace(whole, operations=(silent,)).save(tmp_path / "silent.xrec")
    with connect(f"replay:{path}") as session, pytest.raises(FileFormatError, match="reported"):
        session.configure(program("imu"))


def test_what_was_repeated_is_counted_in_a_replay_too(tmp_path: Path) -> None:
    path = tmp_path / "session.xrec"
    driver = FakeSamna(["imu"], faults=Faults(corrupted_writes=1, stuck_resets=2, dropped_readouts=1))

    def counts(session: Session) -> list[int]:
        found = []
        session.configure(program("imu"))
        found.append(session.retries)
        session.run(rasters())
        found.append(session.retries)
        session.run(rasters())
        found.append(session.retries)
        session.reset()
        return [*found, session.retries]

    with connect("samna:", driver=driver, record_to=path) as session:
        assert counts(session) == [1, 2, 0, 0]
    with connect(f"replay:{path}") as session:
        assert counts(session) == [1, 2, 0, 0]
