"""Runs the jobs of a matrix that have no result yet, and keeps each result as soon as it is there."""

import traceback
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from snnkit.experiments.data import load_images
from snnkit.experiments.matrix import Job, Record, Store
from snnkit.experiments.training.job import Assignment, run_job
from snnkit.experiments.workers import outcomes
from snnkit.recipes.progress import Progress, Silent
from snnkit.utilities.errors import SnnkitError

__all__ = ["JobsFailedError", "run_jobs"]

_TOLD = 3


class JobsFailedError(SnnkitError):
    """Some jobs ended with an error; the results of the others are kept."""


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    *,
    data: Path | None = None,
    processes: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
    stage: str = "training",
) -> list[Record]:
    """Run those of ``jobs`` that have no result in ``store``; return the records of all, in their order.

    Args:
        jobs: What to run.
        store: Where jobs and results lie. A result is written when its job ends: after a kill the same call
            goes on with the others.
        data: Folder of the user's data sets.
        processes: Local processes.
        executor: In place of local processes: anything with ``submit``. Workers need no common file system.
        progress: Who is told what goes on.
        stage: How progress names it.

    Raises:
        ConfigurationError, DataError: the images of a job cannot be read; nothing was run.
        JobsFailedError: some jobs failed, after all others have run; their tracebacks lie in the store.
    """
    progress = progress or Silent()
    todo = store.unfinished(jobs)
    if executor is None:  # Otherwise the images lie where the workers are.
        for dataset in dict.fromkeys(job.dataset for job in todo):
            load_images(dataset.name, data, train=dataset.train or None)
    store.write_jobs(jobs)
    progress.start(stage, len(jobs))
    finished, failed = len(jobs) - len(todo), dict[str, Exception]()
    progress.advance(finished)
    tasks = [Assignment(job, data) for job in todo]
    ended = outcomes(run_job, tasks, jobs=processes, executor=executor)
    for done, (place, outcome) in enumerate(ended, finished + 1):
        _keep(todo[place], outcome, store, failed)
        progress.advance(done, f"{len(failed)} failed" if failed else "")
    if failed:
        raise JobsFailedError(_complaint(failed, len(jobs), store))
    progress.finish(f"{len(jobs)} jobs" + (f", {len(todo)} of them now" if finished else ""))
    return [store.record(job) for job in jobs]


def _keep(job: Job, outcome: dict[str, Any] | Exception, store: Store, failed: dict[str, Exception]) -> None:
    if isinstance(outcome, Exception):
        failed[job.name] = outcome
        store.write_failure(job, "".join(traceback.format_exception(outcome)))
    else:
        store.write_result(job, outcome)


def _complaint(failed: dict[str, Exception], count: int, store: Store) -> str:
    told = [f"\n  - {name}: {type(error).__name__}: {error}" for name, error in list(failed.items())[:_TOLD]]
    rest = f"\n  - and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
    where = store.path / "failures"
    return f"{len(failed)} of {count} jobs failed; tracebacks lie in {where}:{''.join(told)}{rest}"
