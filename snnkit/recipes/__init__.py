"""Recipes: runs from recordings to a verified chip program, described by small TOML files."""
