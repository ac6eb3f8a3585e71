"""What every session promises: simulator, imitation, replay, and with SNNKIT_HIL=1 a board."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sessions.session_programs import CHIPS, N_IN, program, rasters

from snnkit.hw import boards, connect
from snnkit.hw.sessions import (
    ConfigurationRejected,
    NotConfigured,
    Session,
    SessionClosed,
)
from snnkit.hw.xylo import XyloSim
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, DataError, ShapeError

RECORDS = {"Vmem", "Isyn", "Isyn2", "Spikes", "Vmem_out", "Isyn_out"}


def answers_as_the_simulator_and_goes_on_where_it_stopped(session: Session) -> None:
    spec = program(session.chip.name)
    session.configure(spec)
    sim, raster = XyloSim(spec), rasters(samples=1, steps=30)[0]
    for part in (raster[:11], raster[11:12], raster[12:]):
        expected, state, record = sim(part, record=True)
        output, found_state, found = session.run(part, record=True)
        assert output.dtype == np.int64
        np.testing.assert_array_equal(output, expected)
        assert found_state.keys() == state.keys()
        for name, values in found_state.items():
            assert values.dtype == np.int16
            np.testing.assert_array_equal(values, state[name], err_msg=name)
        assert found.keys() <= RECORDS
        assert {"Vmem", "Isyn", "Spikes", "Vmem_out"} <= found.keys()
        assert found.keys() == set(session.reported(spec))
        for name, values in found.items():
            assert values.dtype == record[name].dtype
            np.testing.assert_array_equal(values, record[name], err_msg=name)
    assert output.any()


def samples_of_a_batch_begin_at_rest_and_so_does_what_follows(session: Session) -> None:
    spec = program(session.chip.name)
    session.configure(spec)
    batch = rasters()
    session.run(batch[0])  # leaves a state behind
    output, state, record = session.run(batch, record=["Spikes"])
    expected, expected_state, _ = XyloSim(spec)(batch)
    np.testing.assert_array_equal(output, expected)
    assert record.keys() == {"Spikes"}
    assert record["Spikes"].shape == (3, 20, 12)
    for name, values in state.items():
        np.testing.assert_array_equal(values, expected_state[name], err_msg=name)
    after, _, _ = session.run(batch[1])
    np.testing.assert_array_equal(after, expected[1])


def reset_puts_everything_to_rest(session: Session) -> None:
    spec = program(session.chip.name)
    session.configure(spec)
    raster = rasters(samples=1)[0]
    first, state, _ = session.run(raster)
    assert any(values.any() for values in state.values())
    assert session.reset() is session
    again, _, _ = session.run(raster)
    np.testing.assert_array_equal(again, first)


def a_new_program_replaces_the_old_one_and_its_states(session: Session) -> None:
    raster = rasters(samples=1)[0]
    for seed in (0, 7):
        spec = program(session.chip.name, seed)
        assert session.configure(spec) is session
        assert session.specification == spec
        np.testing.assert_array_equal(session.run(raster)[0], XyloSim(spec)(raster)[0])


def torch_rasters_give_torch_answers(session: Session) -> None:
    spec = program(session.chip.name)
    session.configure(spec)
    batch = torch.from_numpy(rasters(samples=2)).float()
    output, state, record = session.run(batch, record="Vmem_out")
    assert output.dtype == torch.int64
    assert output.shape == (2, 20, 2)
    assert state["vmem"].shape == (2, 12)
    assert record["Vmem_out"].shape == (2, 20, 2)
    assert torch.equal(output, XyloSim(spec)(batch)[0])


def counts_above_the_cap_are_clipped_and_empty_rasters_are_answered(session: Session) -> None:
    spec = program(session.chip.name)
    session.configure(spec)
    loud = np.full((4, N_IN), 40)
    np.testing.assert_array_equal(session.run(loud)[0], XyloSim(spec)(loud)[0])
    output, state, record = session.run(loud[:0], record=True)
    assert output.shape == (0, 2)
    assert record["Spikes"].shape == (0, 12)
    assert state["vmem"].shape == (12,)
    assert session.run(rasters()[:0])[0].shape == (0, 20, 2)


def what_does_not_fit_is_refused_and_leaves_the_session_usable(session: Session) -> None:
    with pytest.raises(NotConfigured, match="no program yet"):
        session.run(rasters())
    other = "imu" if session.chip.name != "imu" else "a3"
    with pytest.raises(ConfigurationError, match="The program is for"):
        session.configure(program(other))
    spec = program(session.chip.name)
    with pytest.raises(ConfigurationRejected, match="threshold"):
        session.configure(replace(spec, threshold=np.zeros(12)))
    session.configure(spec)
    with pytest.raises(ShapeError, match="3 inputs"):
        session.run(np.zeros((5, 4)))
    with pytest.raises(DataError, match=r"0\.\.255"):
        session.run(np.full((5, N_IN), -1))
    with pytest.raises(ConfigurationError, match="Did you mean 'Spikes'"):
        session.run(rasters(), record=["Spike"])
    np.testing.assert_array_equal(session.run(rasters())[0], XyloSim(spec)(rasters())[0])


def power_is_estimated_and_measured_where_that_is_possible(session: Session) -> None:
    session.configure(program(session.chip.name))
    with pytest.raises(NotConfigured, match="Nothing was run"):
        session.power()
    session.run(rasters(steps=40))
    assert session.power().measured is None
    session.run(rasters(steps=40), power=True)
    power = session.power()
    assert 0 < power.estimate.low < power.estimate.watts < power.estimate.high
    if power.measured is None:
        assert session.uri.startswith("sim:")
    else:
        assert "io" in power.measured.channels
        assert power.measured.rate > 0
        assert power.measured.total == pytest.approx(sum(power.measured.watts.values()))
        assert all(watts > 0 for watts in power.measured.watts.values())


def a_closed_session_says_so(session: Session) -> None:
    session.configure(program(session.chip.name))
    session.close()
    session.close()
    assert session.closed
    with pytest.raises(SessionClosed, match="Connect again"):
        session.run(rasters())


CASES: tuple[Callable[[Session], None], ...] = (
    answers_as_the_simulator_and_goes_on_where_it_stopped,
    samples_of_a_batch_begin_at_rest_and_so_does_what_follows,
    reset_puts_everything_to_rest,
    a_new_program_replaces_the_old_one_and_its_states,
    torch_rasters_give_torch_answers,
    counts_above_the_cap_are_clipped_and_empty_rasters_are_answered,
    what_does_not_fit_is_refused_and_leaves_the_session_usable,
    power_is_estimated_and_measured_where_that_is_possible,
    a_closed_session_says_so,
)


def check(case: Callable[[Session], None], uri: str, **options: object) -> None:
    with connect(uri, **options) as session:
        case(session)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("backend", ["sim", "fake", "fake-single-step", "replay"])
def test_contract(backend: str, chip: str, case: Callable[[Session], None], tmp_path: Path) -> None:
    if backend == "replay":
        path = tmp_path / "session.xrec"
        check(case, f"fake:{chip}", record_to=path)
        check(case, f"replay:{path}")
    elif backend == "fake-single-step":
        check(case, f"fake:{chip}", mode="single-step")
    else:
        check(case, f"{backend}:{chip}")


@pytest.mark.hil
@pytest.mark.parametrize("mode", ["accelerated", "single-step"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract_on_every_board_that_is_plugged_in(case: Callable[[Session], None], mode: str) -> None:
    if os.environ.get("SNNKIT_HIL") != "1":
        pytest.skip("needs a board: set SNNKIT_HIL=1")
    found = boards()
    assert found, "SNNKIT_HIL=1, but no board is plugged in"
    for board in found:
        check(case, f"samna:{board.name}:{board.index}", mode=mode)


def test_the_simulator_stands_for_chips_without_a_board_too() -> None:
    with closing(connect("sim:a1")) as session:
        assert session.chip == get_chip("a1")
        spec = replace(program("a2"), chip="a1", bias=np.zeros(12), bias_out=[0, 0])
        session.configure(spec)
        np.testing.assert_array_equal(session.run(rasters())[0], XyloSim(spec)(rasters())[0])
