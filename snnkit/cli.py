"""The command line: options and their words. What the commands do stands in :mod:`snnkit.commands`."""

import sys
import traceback
from typing import Annotated

import typer

import snnkit
from snnkit.utilities.errors import SnnkitError

__all__ = ["app", "main"]

app = typer.Typer(
    name="snnkit",
    help="Train a spiking network, put it on a Xylo chip, and prove that the chip runs what was trained.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snnkit {snnkit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Show what is installed, which optional parts work, and what to do about the rest."""
    from snnkit.commands.doctor import doctor as command

    raise typer.Exit(command(as_json=as_json))


@app.command()
def chips(
    names: Annotated[list[str] | None, typer.Argument(help="Chips to show; all when none is named.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the chips' limits."""
    from snnkit.commands.chips import chips as command

    raise typer.Exit(command(names or [], as_json=as_json))


def main() -> None:
    """Run the command line; an error becomes one message and a non-zero exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks ✓ must not end a run
    try:
        app()
    except Exception as error:  # the last place before the user
        _explain(error)
        sys.exit(1)


def _explain(error: Exception) -> None:
    from snnkit.commands.terminal import print_json, say_error

    if "--debug" in sys.argv:
        traceback.print_exc()
    elif isinstance(error, SnnkitError | OSError):
        say_error(str(error))
    else:
        say_error(f"{type(error).__name__}: {error}\nThis is a fault of snnkit. --debug shows where.")
    if "--json" in sys.argv:
        print_json({"error": {"type": type(error).__name__, "message": str(error)}})
