"""The parts behind ``snnkit run``: what it shows while working, and which folder it means."""

import io
import os

import pytest
import typer
from report_examples import example_report
from rich.console import Console

from snnkit.commands import progress as progress_module
from snnkit.commands.folders import Choice, choose, existing_run, interruptible
from snnkit.commands.progress import TerminalProgress
from snnkit.commands.summary import report_line, run_as_json, run_summary
from snnkit.commands.terminal import bytes_text, show, show_whole
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.stages import load_recipe
from snnkit.utilities.errors import ConfigurationError


def work(progress):
    with progress:
        progress.start("Encoding [x]")
        progress.finish("40 recordings [y]")
        progress.start("Training", 3)
        for epoch in range(3):
            progress.advance(epoch + 1, f"loss {1 / (epoch + 1):.2f}")
        progress.finish()


def test_progress_into_a_file_is_plain_lines(capsys):
    work(TerminalProgress())
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[:3] == ["Encoding [x] ...", "Encoding [x]: 40 recordings [y] (0.0 s)", "Training ..."]
    assert lines[3].startswith("Training: done (")
    assert "\x1b" not in err


def test_progress_into_a_file_tells_of_long_stages_from_time_to_time(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", -1)
    work(TerminalProgress())
    assert "Training: 2 of 3, loss 0.50" in capsys.readouterr().err


def test_progress_in_a_terminal_ends_with_a_mark_for_each_stage(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        progress_module, "status", lambda: Console(file=screen, force_terminal=True, width=120)
    )
    work(TerminalProgress())
    text = screen.getvalue()
    assert text.count("✓") >= 2
    assert "Encoding [x]" in text
    assert "40 recordings [y]" in text
    assert "3/3" in text


def test_ctrl_c_says_how_to_go_on(capsys, tmp_path):
    folder = RunFolder(tmp_path / "my run")
    with pytest.raises(typer.Exit), interruptible(folder, "snnkit run"):
        raise KeyboardInterrupt
    assert "Nothing was written yet" in capsys.readouterr().err
    folder.begin(load_recipe("basic-motions"), resume=False)
    with pytest.raises(typer.Exit) as ended, interruptible(folder, "snnkit run --resume --out 'my run'"):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert "Continue with: snnkit run --resume --out 'my run'" in capsys.readouterr().err


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin(seed):
    recipe, folder = choose(Choice(seed=seed))
    folder.begin(recipe, resume=False)
    return recipe, folder


def test_nothing_said_means_basic_motions_in_a_new_folder(empty):
    recipe, folder = choose(Choice())
    assert recipe.name == "basic-motions"
    assert str(folder.path) == "runs/basic-motions-imu-seed0"
    folder.begin(recipe, resume=False)
    assert str(choose(Choice())[1].path) == "runs/basic-motions-imu-seed0-2"


def test_options_replace_what_the_recipe_says(empty):
    recipe, folder = choose(Choice(recipe="folder", data=empty, chip="SYNS61201", seed=5))
    assert (recipe.chip, recipe.seed, recipe.data.path) == ("a2", 5, str(empty))
    assert str(folder.path) == "runs/folder-a2-seed5"


def test_resume_finds_the_newest_run_of_the_very_recipe(empty):
    begin(1)
    _, wanted = begin(2)
    begin(3)
    (empty / "runs" / "broken").mkdir()
    (empty / "runs" / "broken" / "recipe.toml").write_text("not = [toml")
    assert choose(Choice(seed=2, resume=True))[1] == wanted
    with pytest.raises(ConfigurationError, match="no run of basic-motions on imu with seed 9"):
        choose(Choice(seed=9, resume=True))


def test_resume_with_a_folder_takes_the_recipe_from_it(empty):
    recipe, folder = choose(Choice(seed=7, chip="a3", out=empty / "mine"))
    folder.begin(recipe, resume=False)
    assert choose(Choice(out=empty / "mine", resume=True)) == (recipe, folder)


def test_a_step_without_a_folder_takes_the_newest_run(empty, capsys):
    _, older = begin(1)
    _, newer = begin(2)
    os.utime(older.recipe_file, ns=(1, 1))
    assert existing_run(None) == newer
    assert "Run folder: runs/basic-motions-imu-seed2" in capsys.readouterr().err
    assert existing_run(older.path) == RunFolder(older.path)


def test_the_summary_tells_all_that_matters(capsys, tmp_path):
    data = example_report()
    report = (
        tmp_path / "a folder with a name so long that no terminal has room for it in one line" / "report.html"
    )
    show(run_summary(data))
    show_whole(report_line(report))
    told = capsys.readouterr().out
    for words in (
        "Basic motions from a smart watch  Xylo-IMU, seed 1",
        "float             97.5 %  39 of 40 test recordings",
        "60 of 496",
        "5,123 cycles a step of 5 ms, 1.25 MHz, about 290 µW",
        f"first difference at step {data.divergence.time} of recording 3, 1_LIFTorch neuron",
        "1 min 14 s",
        f"  report        {report}\n",
    ):
        assert words in told
    assert not [line for line in told.splitlines() if line != line.rstrip()]


def test_the_summary_as_json_values(tmp_path):
    data = example_report()
    found = run_as_json(data, tmp_path, tmp_path / "report.html")
    assert found["accuracy"] == {"float": 0.975, "qat": 0.975, "chip": 0.975}
    assert found["divergence"]["layer"] == "1_LIFTorch"
    assert found["timing"]["clock_hz"] == 1.25e6


def test_sizes_in_words():
    assert [bytes_text(n) for n in (0, 999, 1500, 2_700_000, 5_000_000_000)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.7 MB", "5.0 GB",
    ]  # fmt: skip
