"""``snnkit recipes``: the recipes that come with snnkit, and the text of one to start an own from."""

import sys

from rich.markup import escape

from snnkit.commands.terminal import grid, print_json, show
from snnkit.recipes.toml import load_recipe, recipe_names, recipe_source

__all__ = ["recipes"]


def recipes(name: str | None, *, as_json: bool) -> int:
    """List all recipes, or print the TOML text of the one called ``name``."""
    if name is not None:
        text = recipe_source(name)
        if as_json:
            print_json(load_recipe(name).as_table())
        else:
            sys.stdout.write(text)
        return 0
    found = [load_recipe(known) for known in recipe_names()]
    if as_json:
        print_json([{"name": r.name, "title": r.title, "chip": r.chip, "data": r.data.source} for r in found])
        return 0
    rows = [(escape(r.name), f"[dim]{escape(r.chip)}[/]", escape(r.title)) for r in found]
    show(
        grid(
            [*rows, ("", "", ""), ("[dim]start your own[/]", "", "snnkit recipes NAME > mine.toml")], indent=0
        )
    )
    return 0
