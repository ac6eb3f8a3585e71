"""The graph that channels are dropped from: attention opened, and computed weights folded where asked."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from snnkit.dag.channels import Coupling, coupling
from snnkit.dag.channels.computed import softened_by_weights, weight_computations
from snnkit.dag.dag_module import DagModule
from snnkit.dag.pruning.attention import open_attention

__all__ = ["Prepared", "as_dag", "notes_on_weights", "prepared"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model ready to be pruned.

    Args:
        graph: Its graph.
        coupling: The groups of channels of the graph.
        folded: Paths of the computed weights that became parameters.
        difference: How far this moved the outputs, relative to the largest; None if not compared.
    """

    graph: DagModule
    coupling: Coupling
    folded: tuple[str, ...] = ()
    difference: float | None = None


def as_dag(model: nn.Module, example_inputs: Any) -> DagModule:
    """Return ``model`` as a graph: itself, if it is one."""
    from snnkit.dag.capture import build_from_unstructured_module

    return model if isinstance(model, DagModule) else build_from_unstructured_module(model, example_inputs)


def prepared(
    model: nn.Module, inputs: tuple[Any, ...], *, fold_weights: bool = False, verify: bool = True
) -> Prepared:
    """Return the graph of a model and its groups.

    Args:
        model: Any module; it is not changed.
        inputs: The positional arguments of an example.
        fold_weights: Make parameters of the weights whose computation makes groups soft or freezes them.
        verify: Compare the outputs before and after folding.

    Raises:
        VerificationError: folding moves the outputs by more than rounding explains.
    """
    graph = open_attention(as_dag(model, inputs), inputs)
    found = coupling(graph, inputs)
    operations = weight_computations(found) if fold_weights else frozenset()
    if not operations:
        return Prepared(graph, found)
    from snnkit.dag.editing import fold_weights as fold

    calls = found.tape.calls.items()
    paths = [path for path, call in calls if any(index in operations for index in call.operations)]
    given = inputs if graph.signature is None else ()  # captured graphs know what to try
    done = fold(graph, given, only=paths, **({} if verify else {"tolerance": None}))
    if not done.places:
        return Prepared(graph, found)
    return Prepared(done.graph, coupling(done.graph, inputs), done.places, done.difference)


def notes_on_weights(found: Coupling, folded: tuple[str, ...], difference: float | None) -> list[str]:
    """Say which weights are parameters now that were computed, or what folding them would free."""
    if folded:
        moved = "not compared" if difference is None else f"outputs moved by {difference:.1e}"
        more = ", ..." if len(folded) > 3 else ""
        return [
            f"folded: {len(folded)} weights that the model computed in each call are parameters of their own "
            f"now ({', '.join(folded[:3])}{more}; {moved}). Training changes them directly: nothing "
            "standardises or normalises them any more."
        ]
    groups = softened_by_weights(found)
    if not groups:
        return []
    return [
        f"{len(groups)} groups are soft only because weights are computed from parameters in each call, as "
        f"that of {groups[0].name}: Plan(fold_weights=True) makes parameters of such weights, and drops the "
        "channels exactly."
    ]
