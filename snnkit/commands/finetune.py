"""``snnkit finetune``: a run's float net learns on with what the chip computes with."""

from dataclasses import dataclass
from pathlib import Path

from snnkit.commands.folders import existing_run, interruptible
from snnkit.commands.pipeline import quoted, tell
from snnkit.commands.progress import TerminalProgress
from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.toml import load_recipe
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Tuning", "finetune"]


@dataclass(frozen=True)
class Tuning:
    """What the options say; None where nothing was said."""

    method: str | None = None
    epochs: int | None = None
    bits: int | None = None
    chip: str | None = None
    recipe: str | None = None
    net: Path | None = None

    @property
    def overrides(self) -> dict[str, object]:
        """What differs from the recipe of the run."""
        options = {
            "finetuning.method": self.method,
            "finetuning.epochs": self.epochs,
            "network.weight_bits": self.bits,
            "chip": None if self.chip is None else get_chip(self.chip).name,
        }
        return {key: value for key, value in options.items() if value is not None}


def finetune(run: Path | None, tuning: Tuning, out: Path | None, *, resume: bool, as_json: bool) -> int:
    """Fine-tune the float net of a run, in its folder or in that of another run."""
    folder = _folder(run, tuning, out, resume=resume)
    again = f"snnkit finetune {quoted(folder)} --resume"
    with interruptible(folder, again), TerminalProgress() as progress:
        trained = stages.finetune(folder, resume=resume, progress=progress)
    method = trained.prepared.recipe.finetuning.method
    return tell(folder, [folder.tuned_net(method)], "deploy", as_json)


def _folder(run: Path | None, tuning: Tuning, out: Path | None, *, resume: bool) -> RunFolder:
    if tuning.net is not None:
        if run is not None or tuning.recipe is None or resume:
            raise ConfigurationError(
                "--net begins a run: give --recipe with it, and neither RUN nor --resume."
            )
        recipe = load_recipe(tuning.recipe, tuning.overrides)
        return stages.adopt(recipe, tuning.net, out)
    if tuning.recipe is not None:
        raise ConfigurationError("--recipe goes with --net: a run has a recipe of its own.")
    source = existing_run(run)
    if not tuning.overrides and out is None:
        return source
    if resume:
        raise ConfigurationError(
            "--resume goes on with a run as it was begun: name its folder, and leave the other options out."
        )
    return stages.fork(source, out, tuning.overrides)
