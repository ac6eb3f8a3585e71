"""Jobs: pure functions whose results are kept, wherever and however often they are run."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from command_line import command, surroundings
from experiment_matrices import TOML, tiny, tiny_job

from snnkit.experiments.matrix import Store
from snnkit.experiments.training.job import Assignment, run_job
from snnkit.experiments.training.running import JobsFailedError, run_jobs
from snnkit.experiments.workers import outcomes
from snnkit.utilities.errors import ConfigurationError, FileFormatError

BAD = tiny_job(models=[{"cls": "UNet", "kwargs": {"levels": 4}}])
"""8 pixels cannot be halved four times."""


def numbers(result):
    return {key: value for key, value in result.items() if key != "seconds"}


def test_a_job_is_a_pure_function():
    job = tiny().jobs()[1]
    torch.manual_seed(1)
    first = run_job(Assignment(job))
    torch.manual_seed(2)
    second = run_job(Assignment(job))
    assert numbers(first) == numbers(second)
    assert [len(values) for values in first["curves"].values()] == [3, 3, 3, 3]
    assert first["curves"]["train_loss"][0] is None
    assert 0 <= first["test_accuracy"] <= 1
    json.dumps(first, allow_nan=False)


def test_jobs_of_one_run_begin_alike_and_runs_do_not():
    results = {
        (j.run, j.optimizer.kwargs["lr"], j.teleport is None): run_job(Assignment(j)) for j in tiny().jobs()
    }
    begin = {key: round(result["curves"]["val_loss"][0], 6) for key, result in results.items()}
    for run in (0, 1):
        assert len({value for key, value in begin.items() if key[0] == run}) == 1
    assert begin[0, 0.1, True] != begin[1, 0.1, True]


def test_a_teleport_keeps_the_loss_and_changes_the_training():
    without, teleported = (run_job(Assignment(job)) for job in tiny().jobs()[:2])
    (done,) = teleported["teleportations"]
    assert done["epoch"] == 0
    assert done["loss_after"] == pytest.approx(done["loss_before"], rel=1e-5)
    assert done["gradient_norm_after"] != pytest.approx(done["gradient_norm_before"], rel=1e-3)
    assert without["teleportations"] == []
    assert without["curves"]["val_loss"][1] != teleported["curves"]["val_loss"][1]


def test_a_training_that_diverges_says_so():
    job = tiny_job(
        optimizers=[{"cls": "SGD", "kwargs": {"lr": 1e30}}], training_params={"epochs": 4, "batch_size": 32}
    )
    result = run_job(Assignment(job))
    assert result["diverged_at"] == 1
    assert len(result["curves"]["val_accuracy"]) == 5
    assert result["curves"]["val_loss"][1:] == [None] * 4
    assert result["test_accuracy"] <= 0.2


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        ({"cls": "StepLR", "kwargs": {"step_size": 1, "gamma": 0.5}}, [0.1, 0.1, 0.05]),
        ({"cls": "ExponentialLR", "interval": "step", "kwargs": {"gamma": 0.5}}, [0.1, 0.05, 0.0125]),
        ({"cls": "ReduceLROnPlateau", "kwargs": {"patience": 5}}, [0.1, 0.1, 0.1]),
        ({"cls": "OneCycleLR", "interval": "step", "kwargs": {"max_lr": 0.1}}, None),
    ],
)
def test_the_learning_rate_follows_its_schedule(scheduler, rates):
    job = tiny_job(optimizers=[{"cls": "SGD", "kwargs": {"lr": 0.1}, "lr_scheduler": scheduler}])
    found = run_job(Assignment(job))["curves"]["lr"]
    assert found[-1] < 0.001 if rates is None else found == pytest.approx(rates)


@pytest.mark.parametrize("kind", ["normal", "xavier", "xavier_uniform", "kaiming", "orthogonal"])
def test_initial_weights_are_drawn_as_asked(kind):
    from snnkit.experiments.matrix.sections import Initializer
    from snnkit.experiments.models import MLP
    from snnkit.experiments.training.initialisation import initialise

    model = MLP(200, 10, hidden=[300])
    initialise(model, Initializer(kind, gain=0.5), torch.Generator().manual_seed(0))
    weight = model.layers[0].weight
    expected = {
        "normal": 0.5,
        "xavier": 0.5 * (2 / 500) ** 0.5,
        "xavier_uniform": 0.5 * (2 / 500) ** 0.5,
        "kaiming": (2 / 200) ** 0.5,
        "orthogonal": 0.5 * 300**-0.5,
    }[kind]
    assert float(weight.detach().std()) == pytest.approx(expected, rel=0.02)
    assert not model.layers[0].bias.any()


def test_results_do_not_depend_on_who_runs_the_jobs(tmp_path):
    jobs = tiny(runs_per_config=1).jobs()
    here = run_jobs(jobs, Store(tmp_path / "here"))
    with ThreadPoolExecutor(1) as executor:
        elsewhere = run_jobs(jobs, Store(tmp_path / "executor"), executor=executor)
    assert [numbers(record.result) for record in here] == [numbers(record.result) for record in elsewhere]


def test_finished_jobs_are_not_run_again(tmp_path):
    jobs, store = tiny(runs_per_config=1).jobs(), Store(tmp_path)
    run_jobs(jobs[:2], store)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    records = run_jobs(jobs, store)
    assert len(records) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(store.records()) == 4


def test_one_failing_job_does_not_stop_the_others(tmp_path):
    jobs, store = (BAD, *tiny(runs_per_config=1).jobs()[:1]), Store(tmp_path)
    with pytest.raises(JobsFailedError, match=rf"1 of 2 jobs failed.*\n.*{BAD.name}: RuntimeError"):
        run_jobs(jobs, store)
    assert store.unfinished(jobs) == [BAD]
    assert "RuntimeError" in store.failure_file(BAD).read_text()


def test_images_that_are_missing_are_told_before_all_jobs_fail_of_them(tmp_path):
    jobs = tiny(datasets=["cifar10"]).jobs()
    with pytest.raises(ConfigurationError, match="--data DIR"):
        run_jobs(jobs, Store(tmp_path))
    assert not list(tmp_path.iterdir())


def test_results_of_other_jobs_are_refused(tmp_path):
    job, other = tiny().jobs()[:2]
    store = Store(tmp_path)
    run_jobs([job], store)
    store.result_file(other).write_bytes(store.result_file(job).read_bytes())
    with pytest.raises(FileFormatError, match=f"is the result of job {job.name}"):
        run_jobs([other], store)
    for damaged in ("{", json.dumps({**json.loads(store.result_file(job).read_text()), "result": {}})):
        store.result_file(job).write_text(damaged)
        with pytest.raises(FileFormatError, match="Remove it to run the job again"):
            store.records()
    with pytest.raises(FileFormatError, match="no results"):
        Store(tmp_path / "empty").records()


def fail_at_two(number):
    if number == 2:
        raise ValueError("two")
    return number * number


def test_errors_of_tasks_come_back_as_values():
    found = dict(outcomes(fail_at_two, range(4)))
    assert {place: answer for place, answer in found.items() if place != 2} == {0: 0, 1: 1, 3: 9}
    assert isinstance(found[2], ValueError)


def test_a_number_of_processes_below_one_is_told():
    with pytest.raises(ConfigurationError, match="jobs is 0"):
        list(outcomes(fail_at_two, [1], jobs=0))


def test_a_killed_run_goes_on_with_what_is_left(tmp_path):
    (tmp_path / "m.toml").write_text(TOML.replace("runs_per_config = 2", "runs_per_config = 200"))
    out = tmp_path / "out"
    arguments = ("experiment", tmp_path / "m.toml", "--out", out, "--jobs", 2, "--json")
    running = subprocess.Popen(
        command(*arguments), env=surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        results = out / "results"
        deadline = time.monotonic() + 600
        while not list(results.glob("*.json")):
            assert time.monotonic() < deadline, "no result after ten minutes"
            time.sleep(0.02)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    finished = {path.name: path.read_bytes() for path in results.glob("*.json")}
    assert 0 < len(finished) < 800
    store = Store(out)
    records = run_jobs(tiny(runs_per_config=3).jobs(), store)
    assert len(records) == 12
    assert all((results / name).read_bytes() == content for name, content in finished.items())
    kept = next(record for record in records if f"{record.job.name}.json" in finished)
    assert numbers(kept.result) == numbers(run_job(Assignment(kept.job)))  # As in this process.


def test_a_dask_cluster_gives_the_same_results(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the cluster extra is not installed")
    from snnkit.experiments.cluster import connected

    jobs = tiny(runs_per_config=1).jobs()
    expected = run_jobs(jobs, Store(tmp_path / "here"))
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        connected(cluster.scheduler_address) as executor,
    ):
        found = run_jobs(jobs, Store(tmp_path / "dask"), executor=executor)
    assert [numbers(r.result) for r in found] == [numbers(r.result) for r in expected]


def test_a_cluster_that_does_not_answer_is_told(monkeypatch):
    pytest.importorskip("distributed", reason="the cluster extra is not installed")
    from snnkit.experiments import cluster

    monkeypatch.setattr(cluster, "_SECONDS", 0.3)
    with (
        pytest.raises(ConfigurationError, match=r"No dask scheduler answers at tcp://127.0.0.1:1"),
        cluster.connected("tcp://127.0.0.1:1"),
    ):
        pass
