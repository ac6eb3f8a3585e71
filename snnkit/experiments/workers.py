"""Runs independent tasks here, in local processes, or on whatever executor the caller brings."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from snnkit.utilities.errors import ConfigurationError, SnnkitError

__all__ = ["WorkerError", "outcomes"]

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class WorkerError(SnnkitError):
    """A task ended its process: out of memory, or killed from outside."""


def outcomes(
    function: Callable[[Task], Answer],
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    executor: Executor | None = None,
) -> Iterator[tuple[int, Answer | Exception]]:
    """Yield ``(place of the task, its answer or the error it raised)`` as the tasks end, in any order.

    Args:
        function: A function of a module (processes look it up by name) of one task.
        tasks: What can be pickled, where ``jobs`` is above 1 or an executor is given.
        jobs: Local processes; 1 runs the tasks in this one. Each gets its share of the cores for torch.
        executor: Anything with ``submit`` that returns futures of :mod:`concurrent.futures`, in place of
            local processes: ``dask``'s ``client.get_executor()`` is one.

    Raises:
        ConfigurationError: ``jobs`` is less than 1.
        WorkerError: a local process ended in the middle of a task.
    """
    if jobs < 1:
        raise ConfigurationError(f"jobs is {jobs}; it must be at least 1.")
    if executor is not None:
        yield from _submitted(executor, function, tasks)
    elif jobs == 1 or len(tasks) <= 1:
        for place, task in enumerate(tasks):
            yield place, _answer(function, task)
    else:
        yield from _in_processes(function, tasks, min(jobs, len(tasks)))


def _answer(function: Callable[[Task], Answer], task: Task) -> Answer | Exception:
    try:
        return function(task)
    except Exception as error:
        return error


def _in_processes(
    function: Callable[[Task], Answer], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[int, Answer | Exception]]:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        jobs,
        # A forked process would inherit torch's locks in whatever state its threads hold them.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(threads,),
    )
    try:
        yield from _submitted(pool, function, tasks)
    except (KeyboardInterrupt, GeneratorExit):
        _end(pool)
        raise
    except BrokenProcessPool as error:
        raise WorkerError(
            f"A worker process ended in the middle of a task ({error}). It may have run out of memory: try "
            "fewer --jobs. What is finished is kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)
    # Ctrl-C reaches the whole group: the parent answers it, its workers just end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the parent is gone: one that was killed cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    """Stop the workers in the middle of their tasks; the pool itself would wait for them."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()


def _submitted(
    executor: Executor, function: Callable[[Task], Answer], tasks: Sequence[Task]
) -> Iterator[tuple[int, Answer | Exception]]:
    futures: dict[Future[Any], int] = {
        executor.submit(function, task): place for place, task in enumerate(tasks)
    }
    try:
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, BrokenProcessPool) or (error and not isinstance(error, Exception)):
                raise error
            yield futures[future], error if isinstance(error, Exception) else future.result()
    finally:
        for future in futures:
            future.cancel()
