"""Shares work among threads of this process.

Numba's own threads are not used: not every backend of theirs may be entered from two Python threads, or
after a fork. Kernels release the interpreter lock, so plain threads do.
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_shared"]

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def run_shared(run: Callable[[Task], Answer], tasks: Sequence[Task], threads: int) -> list[Answer]:
    """Return ``run(task)`` of all tasks, in their order; this thread is one of those that work.

    Threads fetch one task after the other. One that gets no processor (torch's own threads keep theirs busy
    for some milliseconds after each operation) then delays nothing: the others take its tasks.
    """
    answers: dict[int, Answer] = {}
    left = deque(enumerate(tasks))

    def work() -> None:
        while True:
            try:
                place, task = left.popleft()
            except IndexError:
                return
            answers[place] = run(task)

    helpers = [_pool().submit(work) for _ in range(min(threads, len(tasks)) - 1)]
    try:
        work()
    finally:
        # Also after an error: nobody may still be writing when the caller goes on.
        left.clear()
        running = [helper for helper in helpers if not helper.cancel()]
        failures = [error for helper in running if (error := helper.exception()) is not None]
    if failures:
        raise failures[0]
    return [answers[place] for place in range(len(tasks))]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(os.cpu_count() or 1, 1), thread_name_prefix="snnkit")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads: it must not wait for them.
    os.register_at_fork(after_in_child=_pool.cache_clear)
