"""Runs that begin with a float net that is there: another run's, or a saved one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnkit.recipes.fitting import save_net
from snnkit.recipes.prepare import prepare
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder, new_run_folder
from snnkit.recipes.toml import load_recipe
from snnkit.recipes.train_stage import untrained_network
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.files import write_bytes

__all__ = ["adopt_net", "fork_run"]

_KEEP_THE_NET = ("chip", "network.weight_bits")
_STAGES = ("finetuning.", "deploy.")


def fork_run(source: RunFolder, out: RunFolder | None, overrides: Mapping[str, Any]) -> RunFolder:
    """Begin a run with the float net of ``source``; see :func:`snnkit.recipes.stages.fork`."""
    source.recipe()
    if not source.float_net.is_file():
        raise ConfigurationError(
            f"{source.path} holds no trained net. Finish the training: "
            f"snnkit train --resume --out {source.path}"
        )
    wrong = [key for key in overrides if not key.startswith(_STAGES) and key not in _KEEP_THE_NET]
    if wrong:
        raise ConfigurationError(
            f"{', '.join(wrong)} would make it another float net. Another run of one net may differ in chip, "
            "network.weight_bits, finetuning and deploy alone."
        )
    recipe = load_recipe(source.recipe_file, overrides)
    folder = out or new_run_folder(recipe, source.path.parent)
    folder.begin(recipe, resume=False)
    write_bytes(folder.float_net, source.float_net.read_bytes())
    return folder


def adopt_net(recipe: Recipe, saved: Path, folder: RunFolder) -> RunFolder:
    """Begin a run with a saved float net; see :func:`snnkit.recipes.stages.adopt`."""
    folder.refuse_unless_free(recipe, resume=False)
    prepared = prepare(recipe)
    net = untrained_network(prepared)
    net.load(saved)
    folder.begin(recipe, resume=False)
    save_net(net, (), prepared, folder.float_net)
    return folder
