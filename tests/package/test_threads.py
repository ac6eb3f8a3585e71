"""Work shared among threads: everything is done once, in order, and errors reach the caller."""

import threading

import pytest

from snnkit.utilities.threads import run_shared


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_answers_come_in_the_order_of_the_tasks(threads: int, count: int) -> None:
    assert run_shared(lambda task: task * task, range(count), threads) == [n * n for n in range(count)]


def test_two_threads_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)

    def meet(_task: int) -> int:
        both.wait()
        return threading.get_ident()

    assert len(set(run_shared(meet, range(2), 2))) == 2


@pytest.mark.parametrize("failing", [0, 7])
def test_an_error_in_a_task_is_raised_when_nobody_works_any_more(failing: int) -> None:
    at_work = []

    def run(task: int) -> None:
        at_work.append(task)
        try:
            if task == failing:
                raise ValueError(f"task {task}")
        finally:
            at_work.remove(task)

    with pytest.raises(ValueError, match=f"task {failing}"):
        run_shared(run, range(8), 2)
    assert at_work == []
