"""Another run from the same float net: fine-tuned by another method, with other bits, for another chip."""

from collections.abc import Mapping
from typing import Any

from snnkit.recipes.run_folder import RunFolder, new_run_folder
from snnkit.recipes.toml import load_recipe
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.files import write_bytes

__all__ = ["fork_run"]

_KEEP_THE_NET = ("chip", "network.weight_bits")


def fork_run(source: RunFolder, out: RunFolder | None, overrides: Mapping[str, Any]) -> RunFolder:
    """Begin a run with the float net of ``source``; see :func:`snnkit.recipes.stages.fork`."""
    source.recipe()
    if not source.float_net.is_file():
        raise ConfigurationError(
            f"{source.path} holds no trained net. Finish the training: "
            f"snnkit train --resume --out {source.path}"
        )
    wrong = [key for key in overrides if not key.startswith("finetuning.") and key not in _KEEP_THE_NET]
    if wrong:
        raise ConfigurationError(
            f"{', '.join(wrong)} would make it another float net. Another run of one net may differ in chip, "
            "network.weight_bits and finetuning alone."
        )
    recipe = load_recipe(source.recipe_file, overrides)
    folder = out or new_run_folder(recipe, source.path.parent)
    folder.begin(recipe, resume=False)
    write_bytes(folder.float_net, source.float_net.read_bytes())
    return folder
