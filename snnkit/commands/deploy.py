"""``snnkit deploy``: the program of a run's net, or of its float net in another way."""

from pathlib import Path

from snnkit.commands.folders import existing_run, interruptible
from snnkit.commands.pipeline import quoted, step
from snnkit.commands.progress import TerminalProgress
from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import ConfigurationError

__all__ = ["deploy"]


def deploy(run: Path | None, method: str | None, out: Path | None, *, as_json: bool) -> int:
    """Deploy a run; with another method than its own begin another run with the same float net."""
    folder = existing_run(run)
    if method is None and out is not None:
        raise ConfigurationError("--out names the run that --method begins: give both, or neither.")
    if method is not None and (out is not None or method != folder.recipe().deploy.method):
        folder = _begun(folder, method, out)
    return step("deploy", folder.path, as_json=as_json)


def _begun(source: RunFolder, method: str, out: Path | None) -> RunFolder:
    """Begin a run of the same float net that is deployed by ``method``."""
    overrides: dict[str, object] = {"deploy.method": method}
    if method == "orbit":
        # It chooses the integers by itself: what fine-tuning fixes would be in the way.
        overrides |= {"finetuning.method": "qat", "finetuning.epochs": 0}
    folder = stages.fork(source, out, overrides)
    with interruptible(folder, f"snnkit finetune {quoted(folder)} --resume"), TerminalProgress() as progress:
        stages.finetune(folder, progress=progress)
    return folder
