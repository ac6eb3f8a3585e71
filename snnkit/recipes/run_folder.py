"""The folder of one run: which file holds what, and which recipe made it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from snnkit.recipes.recipe import Recipe
from snnkit.recipes.toml import read_recipe, read_recipe_text, to_toml
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.files import write_text

__all__ = ["RunFolder", "new_run_folder"]

_TOLD_FIRST = ("name", "chip", "seed")
"""Of two recipes' differences, those that say most."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder. Every file is written whole or not at all."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def recipe_file(self) -> Path:
        """The recipe with every default and override written out."""
        return self.path / "recipe.toml"

    @property
    def checkpoint(self) -> Path:
        """State of training: weights, optimiser, random generators, history."""
        return self.path / "checkpoint.safetensors"

    @property
    def float_net(self) -> Path:
        """Weights of the float net, after training."""
        return self.path / "net-float.safetensors"

    def tuned_net(self, method: str) -> Path:
        """Weights of the net after fine-tuning by ``method``; equal to the float net's after 0 epochs."""
        return self.path / f"net-{method}.safetensors"

    @property
    def specification(self) -> Path:
        """The integer program."""
        return self.path / "specification.json"

    @property
    def deployment(self) -> Path:
        """What the deployment cost, layer by layer."""
        return self.path / "deployment.json"

    @property
    def vectors(self) -> Path:
        """Test inputs and the outputs that the chip must answer."""
        return self.path / "vectors.safetensors"

    @property
    def validation(self) -> Path:
        """How far net and chip agree, and where they first differ."""
        return self.path / "validation.json"

    @property
    def metrics(self) -> Path:
        """Accuracies, chip, seed and time as JSON."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe_file.is_file()

    def recipe(self) -> Recipe:
        """Return the recipe of this run.

        Raises:
            ConfigurationError: no run was begun in this folder.
        """
        if not self.exists():
            raise ConfigurationError(
                f"{self.path} is not a run folder: it holds no {self.recipe_file.name}. "
                "Make one with: snnkit train RECIPE --out FOLDER."
            )
        recipe: Recipe = read_recipe(read_recipe_text(self.recipe_file), f"{self.recipe_file}")
        return recipe

    def refuse_unless_free(self, recipe: Recipe, resume: bool) -> None:
        """Raise unless a run of ``recipe`` may begin here, or go on; nothing is written.

        Raises:
            ConfigurationError: a run is here already and ``resume`` is not set, or it is a run of
                another recipe (the message names the first difference), or the folder holds other files
                or cannot be written to.
        """
        if self.exists():
            if not resume:
                raise ConfigurationError(
                    f"{self.path} holds a run already. Continue it with --resume, or choose another --out."
                )
            present = self.recipe()
            if present != recipe:
                raise ConfigurationError(
                    f"{self.path} holds a run of another recipe: {_difference(present, recipe)}. "
                    "Resume with the recipe and options that it was begun with, or choose another --out."
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise ConfigurationError(f"{self.path} holds other files. Choose an empty folder for --out.")
        above = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not above.is_dir():
            raise ConfigurationError(f"{above} is a file, not a folder. Choose another --out.")
        try:
            tempfile.TemporaryFile(dir=above).close()
        except OSError as error:
            raise ConfigurationError(
                f"{above} cannot be written to ({error}). Choose another --out."
            ) from error

    def begin(self, recipe: Recipe, resume: bool) -> None:
        """Make this the folder of a run of ``recipe``. Errors: as :meth:`refuse_unless_free`."""
        self.refuse_unless_free(recipe, resume)
        if not self.exists():
            write_text(self.recipe_file, to_toml(recipe.as_table()))


def new_run_folder(recipe: Recipe, root: str | Path = "runs") -> RunFolder:
    """Return the first folder ``root/NAME-CHIP-seedN``, ``...-2``, ``...-3`` that does not exist yet."""
    stem = f"{recipe.name}-{recipe.chip}-seed{recipe.seed}"
    path, number = Path(root) / stem, 2
    while path.exists():
        path, number = Path(root) / f"{stem}-{number}", number + 1
    return RunFolder(path)


def _difference(present: Recipe, wanted: Recipe) -> str:
    old, new = _flat(present.as_table()), _flat(wanted.as_table())
    keys = [*_TOLD_FIRST, *sorted(old.keys() | new.keys())]
    key = next(k for k in keys if old.get(k) != new.get(k))
    return f"{key} is {old.get(key)!r} there and {new.get(key)!r} now"


def _flat(table: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
