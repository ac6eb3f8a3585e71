"""Jobs and their results as files: ``jobs/NAME.json``, ``results/NAME.json``, ``failures/NAME.txt``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snnkit
from snnkit.experiments.matrix.job import Job
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_json, write_json, write_text

__all__ = ["RESULT_FORMAT", "Record", "Store"]

RESULT_FORMAT = "snnkit-result-1"
_PARTS = {"curves", "test_loss", "test_accuracy", "diverged_at", "teleportations"}
"""What every result has, and plots and tables read."""


@dataclass(frozen=True)
class Record:
    """A finished job and what came of it."""

    job: Job
    result: dict[str, Any]
    """See :func:`snnkit.experiments.training.job.run_job`."""


@dataclass(frozen=True)
class Store:
    """A folder of jobs. A result is written whole when its job ends, so a kill costs only running jobs."""

    path: Path

    def job_file(self, job: Job) -> Path:
        """Where a job lies."""
        return self.path / "jobs" / f"{job.name}.json"

    def result_file(self, job: Job) -> Path:
        """Where its result lies, or will."""
        return self.path / "results" / f"{job.name}.json"

    def failure_file(self, job: Job) -> Path:
        """Where it says why it failed, if it did."""
        return self.path / "failures" / f"{job.name}.txt"

    def write_jobs(self, jobs: Sequence[Job]) -> list[Path]:
        """Write the jobs that are not there yet; return all their files."""
        for job in jobs:
            if not self.job_file(job).exists():
                write_json(self.job_file(job), job.to_table())
        return [self.job_file(job) for job in jobs]

    def write_result(self, job: Job, result: dict[str, Any]) -> Path:
        """Write a result, and forget an earlier failure."""
        content = {
            "format": RESULT_FORMAT,
            "version": snnkit.__version__,
            "job": job.to_table(),
            "result": result,
        }
        write_json(self.result_file(job), content)
        self.failure_file(job).unlink(missing_ok=True)
        return self.result_file(job)

    def write_failure(self, job: Job, text: str) -> Path:
        """Keep why a job failed."""
        return write_text(self.failure_file(job), text)

    def unfinished(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs without a result."""
        return [job for job in jobs if not self.result_file(job).exists()]

    def record(self, job: Job) -> Record:
        """Return a finished job's record; FileFormatError where its file is damaged or of another job."""
        return _read(self.result_file(job), job)

    def records(self) -> list[Record]:
        """Return all results in the folder, by name.

        Raises:
            FileFormatError: there are none, or one is damaged.
        """
        found = [_read(path, None) for path in sorted((self.path / "results").glob("*.json"))]
        if not found:
            raise FileFormatError(f"{self.path} holds no results of jobs (results/*.json).")
        return found


def _read(path: Path, job: Job | None) -> Record:
    try:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != RESULT_FORMAT:
            raise FileFormatError(f"{path} is not the result of a job.")
        found = Job.from_table(content.get("job"), str(path))
        if found.name != path.stem or (job is not None and found != job):
            raise FileFormatError(f"{path} is the result of job {found.name}.")
        result = content.get("result")
        if not isinstance(result, dict) or not result.keys() >= _PARTS:
            raise FileFormatError(f"{path} is not a whole result.")
    except FileFormatError as error:
        raise FileFormatError(f"{error} Remove it to run the job again.") from error
    return Record(found, result)
