"""Which recipe and which run folder a command means."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from snnkit.commands.terminal import status
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder, new_run_folder
from snnkit.recipes.toml import load_recipe
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, SnnkitError

__all__ = ["RUNS", "Choice", "choose", "existing_run", "interruptible"]

RUNS = Path("runs")
DEFAULT_RECIPE = "basic-motions"
_INTERRUPTED = 130


@dataclass(frozen=True)
class Choice:
    """What the options of ``snnkit run`` and ``snnkit train`` say; None where nothing was said."""

    recipe: str | None = None
    data: Path | None = None
    chip: str | None = None
    seed: int | None = None
    out: Path | None = None
    resume: bool = False

    @property
    def overrides(self) -> dict[str, object]:
        """The options that replace something in the recipe."""
        return {
            "data.path": None if self.data is None else str(self.data.resolve()),
            "chip": None if self.chip is None else get_chip(self.chip).name,
            "seed": self.seed,
        }

    @property
    def says_recipe(self) -> bool:
        """True when anything about the recipe was said, beside the folder."""
        return self.recipe is not None or any(value is not None for value in self.overrides.values())


def choose(choice: Choice) -> tuple[Recipe, RunFolder]:
    """Return the recipe and the folder that the options mean.

    ``--resume --out FOLDER`` needs no more: the folder knows its recipe. ``--resume`` without a folder goes
    on with the newest run of the recipe.
    """
    if choice.resume and choice.out is not None and not choice.says_recipe:
        folder = RunFolder(choice.out)
        return folder.recipe(), folder
    recipe = load_recipe(choice.recipe or DEFAULT_RECIPE, choice.overrides)
    if choice.out is not None:
        return recipe, RunFolder(choice.out)
    return recipe, _newest_of(recipe) if choice.resume else new_run_folder(recipe, RUNS)


def _newest_of(recipe: Recipe) -> RunFolder:
    """Return the run of this very recipe in ``runs`` that was begun last."""
    same = [folder for folder in _begun() if _recipe_or_none(folder) == recipe]
    if not same:
        raise ConfigurationError(
            f"There is no run of {recipe.name} on {recipe.chip} with seed {recipe.seed} in {RUNS} to resume. "
            "Leave out --resume to begin one, or name its folder with --out."
        )
    return max(same, key=_age_key)


def _begun() -> list[RunFolder]:
    return [RunFolder(path) for path in RUNS.glob("*") if RunFolder(path).exists()]


def _recipe_or_none(folder: RunFolder) -> Recipe | None:
    """A run of another release may have a recipe that this one cannot read; it is passed over."""
    try:
        return folder.recipe()
    except SnnkitError:
        return None


def existing_run(folder: Path | None) -> RunFolder:
    """Return the named run folder, or the newest one in ``runs``."""
    if folder is not None:
        run = RunFolder(folder)
        run.recipe()
        return run
    begun = _begun()
    if not begun:
        raise ConfigurationError(f"There is no run in {RUNS} yet. Make one with: snnkit run")
    newest = max(begun, key=_age_key)
    status().print(f"Run folder: {newest.path}", markup=False)
    return newest


def _age_key(folder: RunFolder) -> tuple[int, str]:
    return folder.recipe_file.stat().st_mtime_ns, str(folder.path)


@contextmanager
def interruptible(folder: RunFolder, again: str) -> Iterator[None]:
    """Turn Ctrl-C into exit code 130 and a line that says how to go on with ``again``."""
    try:
        yield
    except KeyboardInterrupt:
        told = f"Continue with: {again}" if folder.exists() else "Nothing was written yet."
        status().print(f"\nInterrupted. {told}", markup=False, soft_wrap=True)
        raise typer.Exit(_INTERRUPTED) from None
