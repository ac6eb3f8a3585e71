"""``snnkit experiment``: options and their words, in the manner of :mod:`snnkit.cli`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["app"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of everything random.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", exists=True, file_okay=False, metavar="DIR", help="Folder of CIFAR or MNIST."),
]
Configuration = Annotated[Path, typer.Argument(metavar="FILE", help="A matrix: .toml, .yaml or .yml.")]


class _NamesAsCommands(TyperGroup):
    """``snnkit experiment NAME`` is ``snnkit experiment run NAME``, and ``--list`` is ``list``."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Put the command before options that come first; the group itself has none but its help."""
        if args[:1] == ["--list"]:
            args = ["list", *args[1:]]
        elif args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put ``run`` before what is no command."""
        known = args and self.get_command(ctx, args[0]) is not None
        return super().resolve_command(ctx, args if known else ["run", *args])


app = typer.Typer(
    cls=_NamesAsCommands,
    help="Experiments on teleportation and sparsity. snnkit experiment NAME runs one of those in the list.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("run")
def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="An experiment of the list, or a matrix's file.")
    ],
    *,
    full: Annotated[bool, typer.Option("--full", help="The paper's size instead of minutes.")] = False,
    seed: Seed = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Local processes.")] = 1,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="ADDRESS", help="A dask scheduler, in place of --jobs.")
    ] = None,
    data: Data = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; repeat for more."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="[dim]default: experiments/NAME-SIZE-seedN[/dim]"),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run an experiment, or go on with it: findings, figures, and how to read them.

    Exit code 1 when a number breaks a law that it is checked against.
    """
    from snnkit.commands.experiment import Choice
    from snnkit.commands.experiment import run as command

    choice = Choice(name, full, seed, jobs, cluster, data, tuple(settings or ()), out)
    raise typer.Exit(command(choice, as_json=as_json))


@app.command("list")
def list_all(*, as_json: Json = False, debug: Debug = False) -> None:
    """List the experiments."""
    from snnkit.commands.experiment import list_all as command

    raise typer.Exit(command(as_json=as_json))


@app.command("plot")
def plot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an experiment with training.")],
    *,
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="A,B", help="val_accuracy, val_loss, train_loss, lr.")
    ] = "val_accuracy",
    group_by: Annotated[
        str,
        typer.Option(
            "--group-by", metavar="A,B", help="Fields told apart by colour: optimizer.kwargs.lr, ..."
        ),
    ] = "teleport,optimizer",
    panel_by: Annotated[
        str, typer.Option("--panel-by", metavar="A,B", help="Fields with panels of their own.")
    ] = "dataset,model",
    boxplot: Annotated[bool, typer.Option("--boxplot", help="Boxes at --box-epochs, not curves.")] = False,
    box_epochs: Annotated[
        str, typer.Option("--box-epochs", metavar="N,N", help="[dim]default: three over the run[/dim]")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="[dim]default: DIR/plots[/dim]")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw curves of means or boxes of an experiment's results, grouped by any fields of their jobs."""
    from snnkit.commands.experiment_files import PlotChoice
    from snnkit.commands.experiment_files import plot as command

    wanted = PlotChoice(folder, metrics, group_by, panel_by, boxplot, box_epochs, out)
    raise typer.Exit(command(wanted, as_json=as_json))


@app.command("unroll")
def unroll(
    configuration: Configuration,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the jobs and their results.")],
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a matrix's jobs as files, for a scheduler of your own: snnkit experiment job FILE runs one."""
    from snnkit.commands.experiment_files import unroll as command

    raise typer.Exit(command(configuration, out, seed, as_json=as_json))


@app.command("job")
def job(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A job that unroll wrote.")],
    *,
    data: Data = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run one job and write its result beside it; one that is finished is not run again."""
    from snnkit.commands.experiment_files import job as command

    raise typer.Exit(command(file, data, as_json=as_json))
