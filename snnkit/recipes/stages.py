"""The pipeline's stages as functions of a recipe and a run folder; the command line calls nothing else.

``run`` does all of them. Each can be called alone: it reads what the earlier ones left in the run folder
and writes its own files there, so another process, or another day, can go on.

| stage | reads | writes |
|---|---|---|
| ``train`` | recordings | recipe.toml, checkpoint, net-float, metrics (float) |
| ``finetune`` | net-float, recordings | checkpoint, net-chip-exact or net-qat, metrics (chip_exact or qat) |
| ``check`` | net-float | nothing |
| ``deploy`` | fine-tuned net, recordings (training split only) | specification, deployment.json |
| ``simulate`` | specification, recordings | vectors, metrics (chip) |
| ``validate`` | nets, specification, vectors | validation.json, metrics (differences) |
| ``report`` | all of these | report-data, report.html |
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnkit.recipes.metrics_file import timed
from snnkit.recipes.progress import Progress, Silent
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder, new_run_folder
from snnkit.recipes.toml import recipe_names

if TYPE_CHECKING:
    from snnkit.hw.xylo.deployment.deploy import Deployment
    from snnkit.hw.xylo.mapping.check import CheckReport
    from snnkit.recipes.chip_stages import Simulation
    from snnkit.recipes.finetune_stage import Trained
    from snnkit.recipes.train_stage import TrainedFloat
    from snnkit.recipes.validation import Validation
    from snnkit.report.data import ReportData

__all__ = [
    "Progress",
    "Recipe",
    "RunFolder",
    "Silent",
    "adopt",
    "check",
    "deploy",
    "finetune",
    "fork",
    "load_recipe",
    "new_run_folder",
    "recipe_names",
    "report",
    "run",
    "simulate",
    "train",
    "validate",
]


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe by name or path; see :func:`snnkit.recipes.toml.load_recipe`.

    The command line's options are the overrides ``{"data.path": ..., "chip": ..., "seed": ...}``; None
    leaves what the file says.
    """
    from snnkit.recipes.toml import load_recipe as load

    recipe: Recipe = load(name_or_path, overrides)
    return recipe


def run(
    recipe: Recipe, folder: RunFolder | str | Path, *, resume: bool = False, progress: Progress | None = None
) -> "ReportData":
    """Do every stage and write the whole run folder; return what the report shows.

    With ``resume`` a run that was interrupted goes on, to the same final bits as one that was not.
    """
    started = time.monotonic()  # Before imports: the first of torch and numba take seconds.
    from snnkit.recipes.run_stage import run_all

    return run_all(recipe, _folder(folder), resume, progress or Silent(), started)


def train(
    recipe: Recipe, folder: RunFolder | str | Path, *, resume: bool = False, progress: Progress | None = None
) -> "TrainedFloat":
    """Encode the recordings and train the float net."""
    folder = _folder(folder)
    with timed(folder, "train", more=resume):
        from snnkit.recipes.train_stage import train_float

        return train_float(recipe, folder, resume, progress or Silent())


def finetune(
    folder: RunFolder | str | Path, *, resume: bool = False, progress: Progress | None = None
) -> "Trained":
    """Fine-tune the float net of a run by the method of its recipe: chip-exactly, or with rounding alone.

    Raises:
        ConfigurationError: there is no trained net, or the fine-tuning was begun and ``resume`` is not set.
    """
    folder = _folder(folder)
    from snnkit.recipes.finetune_stage import finetune_trained, refuse_unless_untuned

    refuse_unless_untuned(folder, resume)
    with timed(folder, "finetune", more=resume):
        from snnkit.recipes.train_stage import load_float

        return finetune_trained(load_float(folder), folder, progress or Silent())


def fork(
    folder: RunFolder | str | Path, out: RunFolder | str | Path | None, overrides: Mapping[str, Any]
) -> RunFolder:
    """Begin another run with the float net of ``folder``, to be fine-tuned or deployed in another way.

    Args:
        folder: The run whose float net is taken.
        out: Folder of the new run; by default one beside ``folder``.
        overrides: What differs in the recipe: ``chip``, ``network.weight_bits``, ``finetuning.*``,
            ``deploy.*``.

    Raises:
        ConfigurationError: there is no trained net; an override would make it another net; ``out`` is taken.
    """
    from snnkit.recipes.fork import fork_run

    return fork_run(_folder(folder), None if out is None else _folder(out), overrides)


def check(target: RunFolder | Recipe | str | Path, *, chip: str | None = None) -> "CheckReport":
    """Return every violation of the chip's limits by a run's net, and the use of every resource.

    A recipe is checked with the net that it would train. ``chip`` asks about another chip than the recipe's.
    """
    from snnkit.recipes.chip_stages import check_run

    return check_run(target if isinstance(target, Recipe) else _folder(target), chip)


def deploy(folder: RunFolder | str | Path, *, progress: Progress | None = None) -> "Deployment":
    """Map and quantise the trained net for the recipe's chip and write the specification."""
    folder = _folder(folder)
    with timed(folder, "deploy"):
        from snnkit.recipes.chip_stages import deploy_run

        return deploy_run(folder, progress or Silent())


def simulate(folder: RunFolder | str | Path, *, progress: Progress | None = None) -> "Simulation":
    """Run the specification on the whole test split, bit-exactly, and write the test vectors."""
    folder = _folder(folder)
    with timed(folder, "simulate"):
        from snnkit.recipes.chip_stages import simulate_run

        return simulate_run(folder, progress or Silent())


def validate(folder: RunFolder | str | Path, *, progress: Progress | None = None) -> "Validation":
    """Compare chip and net event by event, and the fast simulator with the readable one bit by bit."""
    folder = _folder(folder)
    with timed(folder, "validate"):
        from snnkit.recipes.validation import validate_run

        return validate_run(folder, progress or Silent())


def report(folder: RunFolder | str | Path, *, progress: Progress | None = None) -> Path:
    """Gather the run's report data, draw ``report.html`` and return its path."""
    started = time.monotonic()
    from snnkit.recipes.run_stage import report_run

    return report_run(_folder(folder), progress or Silent(), started)


def adopt(recipe: Recipe, net: str | Path, folder: RunFolder | str | Path | None = None) -> RunFolder:
    """Begin a run with a float net that was trained elsewhere, to be fine-tuned and deployed.

    Args:
        recipe: Its data and encoding; its network must be that of the file.
        net: What ``net.save(file)`` wrote of the network, as the recipe builds it.
        folder: Folder of the run; by default a new one in ``runs``.

    Raises:
        FileFormatError: the file is damaged, or of another network (all differences are listed).
        ConfigurationError: the folder is taken.
    """
    from snnkit.recipes.fork import adopt_net

    return adopt_net(recipe, Path(net), new_run_folder(recipe) if folder is None else _folder(folder))


def _folder(folder: RunFolder | str | Path) -> RunFolder:
    return folder if isinstance(folder, RunFolder) else RunFolder(Path(folder))
