"""``snnkit check``: whether a net fits a chip; every violation with its fix, the use of every resource."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from snnkit.commands.folders import existing_run
from snnkit.commands.summary import resource_table
from snnkit.commands.terminal import grid, print_json, show
from snnkit.hw.xylo.mapping.resource import Resource
from snnkit.recipes import stages
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, nearest_match

if TYPE_CHECKING:
    from types import ModuleType

    from snnkit.hw.xylo import Violation

__all__ = ["Verdict", "check", "load_net", "load_object"]

FORMS = "a run folder, a specification.json, or FILE.py:NAME where NAME is a net or a function that makes one"


@dataclass(frozen=True)
class Verdict:
    """Whether something fits a chip, and why not."""

    chip: Chip
    violations: "tuple[Violation, ...]"
    resources: tuple[Resource, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing must change."""
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        return {
            "chip": self.chip.name,
            "ok": self.ok,
            "violations": [asdict(violation) for violation in self.violations],
            "resources": [asdict(resource) for resource in self.resources],
            "notes": list(self.notes),
        }


def check(target: str | None, chip: str | None, *, as_json: bool) -> int:
    """Print whether ``target`` fits; return 1 when it does not."""
    verdict = _verdict(target, chip)
    if as_json:
        print_json(verdict.to_json())
    else:
        show(_told(verdict))
    return 0 if verdict.ok else 1


def _verdict(target: str | None, chip: str | None) -> Verdict:
    wanted = None if chip is None else get_chip(chip)
    if target is not None and Path(target).is_file():
        return _check_specification(Path(target), wanted)
    if target is not None and ":" in target and not Path(target).exists():
        return _check_net(target, wanted)
    if target is not None and not Path(target).is_dir():
        raise ConfigurationError(f"{target} is neither of these: {FORMS}.")
    folder = existing_run(None if target is None else Path(target))
    return _of_report(stages.check(folder, chip=None if wanted is None else wanted.name))


def _check_net(target: str, chip: Chip | None) -> Verdict:
    from snnkit.hw.xylo import check as check_net

    if chip is None:
        raise ConfigurationError(f"Which chip is {target} for? Say so with --chip; snnkit chips lists them.")
    return _of_report(check_net(load_net(target), chip))


def _of_report(report: Any) -> Verdict:
    return Verdict(report.chip, tuple(report.violations), tuple(report.resources), tuple(report.notes))


def _check_specification(path: Path, chip: Chip | None) -> Verdict:
    from snnkit.hw.xylo import Specification

    specification = Specification.load(path)
    if chip is not None:
        specification = replace(specification, chip=chip.name)
    on = get_chip(specification.chip)
    sizes = (
        ("input channels", specification.n_in, on.max_inputs),
        ("hidden neurons", specification.n_hidden, on.max_hidden),
        ("output neurons", specification.n_out, on.max_outputs),
    )
    resources = tuple(Resource(name, used, limit) for name, used, limit in sizes)
    return Verdict(on, specification.violations(), resources)


def load_net(target: str) -> Any:
    """Return the ``torch.nn.Module`` that ``FILE.py:NAME`` or ``package.module:NAME`` means."""
    from torch import nn

    found = load_object(target)
    net = found if isinstance(found, nn.Module) else found() if callable(found) else found
    if not isinstance(net, nn.Module):
        raise ConfigurationError(f"{target} is of type {type(net).__name__}, not a net (torch.nn.Module).")
    return net


def load_object(target: str) -> Any:
    """Return what ``FILE.py:NAME`` or ``package.module:NAME`` names; the module's own code runs."""
    where, _, name = target.rpartition(":")
    try:
        module = _module(where)
    except Exception as error:
        raise ConfigurationError(f"{where} does not load: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        near = nearest_match(name, [n for n in vars(module) if not n.startswith("_")])
        hint = f" Did you mean {near!r}?" if near else ""
        raise ConfigurationError(f"{where} holds no {name!r}.{hint}")
    return getattr(module, name)


def _module(where: str) -> "ModuleType":
    path = Path(where)
    if path.suffix != ".py":
        sys.path.insert(0, str(Path.cwd()))
        return import_module(where)
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbours
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _told(verdict: Verdict) -> RenderableType:
    chip = f"{verdict.chip.title} ({verdict.chip.name})"
    if verdict.ok:
        parts: list[RenderableType] = [f"[green]✓[/] The net fits {chip}."]
    else:
        count = len(verdict.violations)
        changes = "1 thing must change" if count == 1 else f"{count} things must change"
        parts = [f"[red]✗[/] The net does not fit {chip}: {changes}.", "", _violations(verdict.violations)]
    if verdict.resources:
        parts += ["", resource_table(verdict.resources)]
    if verdict.notes:
        parts += ["", *(f"[dim]Note:[/] {escape(note)}" for note in verdict.notes)]
    return Group(*parts)


def _violations(violations: "Sequence[Violation]") -> RenderableType:
    rows = []
    for violation in violations:
        told = Text.assemble(
            (f"{violation.rule}: {violation.value}", "bold"),
            f", limit {violation.limit}\n",
            (f"{violation.where}\n", "dim"),
            f"{violation.fix}",
        )
        rows.append(told)
    return grid(("[red]✗[/]", told) for told in rows)
