"""Recipe files: reading, overriding, and writing the resolved recipe back as TOML."""

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from snnkit.recipes.schema import RecipeError, build
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, FileFormatError, unknown_key_message

__all__ = [
    "as_table",
    "load_recipe",
    "read_recipe",
    "read_recipe_text",
    "recipe_names",
    "recipe_source",
    "to_toml",
]


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with snnkit."""
    folder = files("snnkit.recipes")
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")))


def recipe_source(name: str) -> str:
    """Return the TOML text of a recipe by name; for an unknown one ConfigurationError names the nearest."""
    if name not in recipe_names():
        raise ConfigurationError(unknown_key_message("recipe", name, recipe_names()))
    return (files("snnkit.recipes") / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Any:
    """Return the :class:`~snnkit.recipes.recipe.Recipe` of that name or in that TOML file.

    Args:
        name_or_path: A name of :func:`recipe_names`, or the path of a TOML file.
        overrides: Values that replace the file's, by dotted key: ``{"seed": 3, "data.path": "takes"}``.
            None as a value leaves the file's.

    Raises:
        ConfigurationError: no such recipe; the message names the nearest.
        RecipeError: the recipe is wrong; every fault is listed.
    """
    text = str(name_or_path)
    if text in recipe_names():
        content, source = recipe_source(text), text
    elif Path(text).is_file():
        content, source = read_recipe_text(text), text
    else:
        raise ConfigurationError(
            unknown_key_message("recipe", text, recipe_names()) + " A path of a TOML file works too."
        )
    return read_recipe(content, f"Recipe {source}", overrides)


def read_recipe_text(path: str | Path) -> str:
    """Return the content of a recipe file; a :class:`FileFormatError` says why it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a readable recipe: {error}") from error


def read_recipe(content: str, source: str, overrides: Mapping[str, Any] | None = None) -> Any:
    """Parse TOML text as a recipe; ``source`` names it in messages. Errors: as :func:`load_recipe`."""
    from snnkit.recipes.recipe import Recipe

    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(source, [f"It is not valid TOML: {error}."]) from error
    _modernise(table, source)
    for key, value in (overrides or {}).items():
        if value is not None:
            _set(table, key, value, source)
    if isinstance(table.get("chip"), str):
        # Part numbers are welcome; an unknown name is reported by the schema, with every other fault.
        with suppress(ConfigurationError):
            table["chip"] = get_chip(table["chip"]).name
    return build(Recipe, table, source)


def _modernise(table: dict[str, Any], source: str) -> None:
    """Read what earlier releases wrote: their ``[qat]`` is ``[finetuning]`` of that method."""
    if "qat" not in table:
        return
    if "finetuning" in table:
        raise RecipeError(source, ["[qat] is [finetuning] of an earlier release: keep one of them."])
    earlier = table.pop("qat")
    table["finetuning"] = {"method": "qat", **earlier} if isinstance(earlier, dict) else earlier


def _set(table: dict[str, Any], key: str, value: Any, source: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise RecipeError(source, [f"{key} cannot be set: {parent} is not a table."])
        table = inner
    table[last] = value


def as_table(value: Any) -> Any:
    """Turn dataclasses into plain tables; the ``kind`` of an encoding is written as a key."""
    if is_dataclass(value):
        table = {"kind": value.kind} if hasattr(value, "kind") else {}
        return table | {f.name: as_table(getattr(value, f.name)) for f in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Write tables of numbers, texts, truth values and flat lists as TOML."""
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    lines = [f"{key} = {_literal(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{prefix}{key}]", to_toml(value, f"{prefix}{key}.").rstrip("\n")]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_literal(entry) for entry in value) + "]"
    if isinstance(value, str):
        return json.dumps(value)  # JSON's escapes are a subset of TOML's
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
