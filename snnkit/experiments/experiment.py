"""What an experiment is: a name, settings in two sizes, a function that runs it, one that draws it."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import torch

from snnkit.experiments.data import ImageSplit, load_images
from snnkit.experiments.findings import Findings
from snnkit.experiments.workers import outcomes
from snnkit.recipes.progress import Progress, Silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Context", "Experiment", "Size", "seed_of"]

Settings = TypeVar("Settings")
Task = TypeVar("Task")
Answer = TypeVar("Answer")
Size = Literal["quick", "full"]

_SEED_BITS = 32


def seed_of(seed: int, *names: str | int) -> int:
    """Return a seed that follows from ``seed`` and ``names``; other names give independent ones."""
    words = [seed, *(name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> (64 - _SEED_BITS))


@dataclass(frozen=True)
class Context:
    """What surrounds a run: everything but its settings. None of it may change the numbers but the seed.

    Args:
        seed: Everything random follows from it, through :meth:`generator`.
        folder: The experiment's own folder, for intermediate files; it exists.
        data: Folder of the user's data sets (CIFAR, MNIST); None where none was named.
        jobs: Local processes for :meth:`map`.
        executor: In place of local processes: anything with ``submit``.
        progress: Who is told what goes on.
    """

    seed: int
    folder: Path
    data: Path | None = None
    jobs: int = 1
    executor: Executor | None = None
    progress: Progress = field(default_factory=Silent)

    def generator(self, *names: str | int) -> torch.Generator:
        """Return a generator for the purpose called ``names``: one purpose does not disturb another."""
        return torch.Generator().manual_seed(seed_of(self.seed, *names))

    def images(self, name: str, train: int | None = None) -> ImageSplit:
        """Return a data set by name, from the user's folder where it needs one."""
        return load_images(name, self.data, train=train)

    def map(self, function: Callable[[Task], Answer], tasks: Sequence[Task], stage: str) -> list[Answer]:
        """Return ``function(task)`` of all tasks in their order, worked off by ``jobs`` processes.

        Progress shows ``stage`` and counts. Function and tasks are pickled: a function of a module, and
        frozen dataclasses or tuples. The first error is raised.
        """
        self.progress.start(stage, len(tasks))
        answers: dict[int, Answer] = {}
        for place, answer in outcomes(function, tasks, jobs=self.jobs, executor=self.executor):
            if isinstance(answer, Exception):
                raise answer
            answers[place] = answer
            self.progress.advance(len(answers))
        self.progress.finish()
        return [answers[place] for place in range(len(tasks))]


@dataclass(frozen=True)
class Experiment(Generic[Settings]):
    """One experiment that ``snnkit experiment NAME`` runs.

    Args:
        name: The command's word: lower case, with hyphens.
        title: One line of the list, which figure of which paper included.
        quick: Settings that finish in minutes on two cores: a frozen dataclass whose fields are int, float,
            str, bool, tuples of one of these, or such dataclasses again. ``Annotated[int, Limits(low=1)]``
            (:class:`snnkit.recipes.schema.Limits`) gives ranges. ``--set KEY=VALUE`` changes fields.
        full: The paper's size.
        run: Computes the findings.
        draw: Makes the figures from the findings alone, by name; called inside the report's look
            (:func:`snnkit.report.style.drawing`), with matplotlib imported inside.
        keeps_parts: ``run`` itself keeps in the folder what is finished, and is quick where all is: it is
            called for a finished folder too.
    """

    name: str
    title: str
    quick: Settings
    full: Settings
    run: Callable[[Settings, Context], Findings]
    draw: Callable[[Findings], Mapping[str, "Figure"]] = lambda _: {}
    keeps_parts: bool = False

    def settings(self, size: Size) -> Any:
        """Return the settings of a size."""
        return self.quick if size == "quick" else self.full
