"""The command line: options and their words. What the commands do stands in :mod:`snnkit.commands`."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

import snnkit
from snnkit.commands.experiment_options import app as experiment_app
from snnkit.utilities.errors import SnnkitError

__all__ = ["app", "main"]

app = typer.Typer(
    name="snnkit",
    help="Train a spiking network, put it on a Xylo chip, and prove that the chip runs what was trained.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_RUNNING = "Run the pipeline"
_STEPS = "One step of a run"
_LOOKING = "Look"

RecipeName = Annotated[
    str | None,
    typer.Argument(metavar="RECIPE", help="A recipe's name or TOML file. [dim]default: basic-motions[/dim]"),
]
RunPath = Annotated[
    Path | None,
    typer.Argument(metavar="RUN", help="A run's folder. [dim]default: the newest in runs/[/dim]"),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", exists=True, file_okay=False, metavar="DIR", help="Folder of recordings."),
]
ChipName = Annotated[
    str | None, typer.Option("--chip", metavar="NAME", help="Chip: see [bold]snnkit chips[/].")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the run's files.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
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


@app.command(rich_help_panel=_RUNNING)
def run(
    recipe: RecipeName = None,
    *,
    data: Data = None,
    chip: ChipName = None,
    seed: Seed = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """From recordings to a verified chip program and a report, in one go."""
    from snnkit.commands.folders import Choice
    from snnkit.commands.pipeline import run as command

    raise typer.Exit(command(Choice(recipe, data, chip, seed, out, resume), as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def train(
    recipe: RecipeName = None,
    *,
    data: Data = None,
    chip: ChipName = None,
    seed: Seed = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the float net."""
    from snnkit.commands.folders import Choice
    from snnkit.commands.pipeline import train as command

    raise typer.Exit(command(Choice(recipe, data, chip, seed, out, resume), as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def finetune(
    run: RunPath = None,
    *,
    method: Annotated[
        str | None, typer.Option("--method", metavar="NAME", help="chip-exact, or qat for rounding alone.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs; 0 calibrates.")] = None,
    bits: Annotated[int | None, typer.Option("--bits", metavar="N", help="Bits of a weight, 2 to 8.")] = None,
    chip: ChipName = None,
    net: Annotated[
        Path | None, typer.Option("--net", metavar="FILE", help="A float net that net.save(FILE) wrote.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="RECIPE", help="Recipe of that net: data and network.")
    ] = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a run's float net on, in the chip's own arithmetic.

    Any of --method, --epochs, --bits, --chip and --out begins another run with the same float net; --net and
    --recipe begin one with a net that was trained elsewhere.
    """
    from snnkit.commands.finetune import Tuning
    from snnkit.commands.finetune import finetune as command

    raise typer.Exit(
        command(run, Tuning(method, epochs, bits, chip, recipe, net), out, resume=resume, as_json=as_json)
    )


@app.command(rich_help_panel=_STEPS)
def check(
    net: Annotated[
        str | None,
        typer.Argument(
            metavar="NET|RUN",
            help="A run's folder, a specification.json, or FILE.py:NAME with NAME a net or a function that "
            "makes one. [dim]default: the newest run[/dim]",
        ),
    ] = None,
    chip: ChipName = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say whether a net fits a chip: all violations with their fixes, and the resources it takes."""
    from snnkit.commands.check import check as command

    raise typer.Exit(command(net, chip, as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def deploy(
    run: RunPath = None,
    *,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="orbit: search the integers of each neuron of the float net, in another run (--out).",
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn the fine-tuned net into the chip's integer program."""
    from snnkit.commands.deploy import deploy as command

    raise typer.Exit(command(run, method, out, as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def simulate(run: RunPath = None, as_json: Json = False, debug: Debug = False) -> None:
    """Run the program on all test recordings in the bit-exact simulator."""
    from snnkit.commands.pipeline import step

    raise typer.Exit(step("simulate", run, as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def validate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|FILE", help="A run's folder, or a FILE.xylo. [dim]default: the newest in runs/[/dim]"
        ),
    ] = None,
    *,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="DEVICE", help="samna:, samna:BOARD:N, fake:imu, sim:imu, replay:FILE."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE.xrec", help="Keep what the device did.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, metavar="N", help="Test vectors for the device.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare chip and net event by event, and state by state where training was chip-exact.

    With --on, compare a device with the simulator. A FILE.xylo is checked by its test vectors.
    """
    of_device = any(option is not None for option in (on, record, samples))
    if of_device or (run is not None and run.suffix == ".xylo"):
        from snnkit.commands.device import validate as on_device

        raise typer.Exit(on_device(run, on, record, samples, as_json=as_json))
    from snnkit.commands.pipeline import step

    raise typer.Exit(step("validate", run, as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def pack(
    run: RunPath = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="[dim]default: in the run's folder[/dim]")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a run's program to one file, with encoder, weights and test vectors."""
    from snnkit.commands.device import pack as command

    raise typer.Exit(command(run, out, as_json=as_json))


@app.command(rich_help_panel=_LOOKING)
def diverge(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="RUN (its program), RUN:float, RUN:tuned (its nets), specification.json, FILE.xylo, "
            "FILE.xrec, fake:imu, samna: (devices), or FILE.py:NAME (a net).",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    *,
    raster: Annotated[
        Path | None,
        typer.Option("--raster", metavar="FILE", help="Event counts. [dim]default: those of A or B[/dim]"),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, metavar="N", help="Recordings to compare.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw both rasters into a picture.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say where two nets, programs, devices or recordings first differ, and why. Exit code 1 if they do."""
    from snnkit.commands.diverge import diverge as command

    raise typer.Exit(command(a, b, raster=raster, samples=samples, plot=plot, as_json=as_json))


@app.command(rich_help_panel=_STEPS)
def report(run: RunPath = None, as_json: Json = False, debug: Debug = False) -> None:
    """Write the run's report page."""
    from snnkit.commands.pipeline import step

    raise typer.Exit(step("report", run, as_json=as_json))


@app.command(rich_help_panel=_LOOKING)
def doctor(
    boards: Annotated[
        bool, typer.Option("--boards", help="Also list the boards that are plugged in; imports samna.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is installed, which optional parts work, and what to do about the rest."""
    from snnkit.commands.doctor import doctor as command

    raise typer.Exit(command(as_json=as_json, boards=boards))


@app.command(rich_help_panel=_LOOKING)
def chips(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CHIP", help="Chips to show. [dim]default: all[/dim]")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the chips' limits."""
    from snnkit.commands.chips import chips as command

    raise typer.Exit(command(names or [], as_json=as_json))


@app.command(rich_help_panel=_LOOKING)
def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Recipe to print. [dim]default: list all[/dim]")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the recipes, or print one to start your own from."""
    from snnkit.commands.recipes import recipes as command

    raise typer.Exit(command(name, as_json=as_json))


app.add_typer(experiment_app, name="experiment", rich_help_panel=_LOOKING)


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
