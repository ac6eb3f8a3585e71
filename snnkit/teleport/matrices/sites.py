"""Places of a model where a matrix may be put in and taken out again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.recording import record
from snnkit.dag.analysis.tape import Tape
from snnkit.teleport.matrices.constraints import Block
from snnkit.teleport.matrices.tracing import Condition, Trace, trace
from snnkit.teleport.matrices.views import View

__all__ = ["MatrixSite", "Place", "matrix_sites", "sites_of_trace"]


@dataclass(frozen=True, eq=False)
class Place:
    """Where a parameter takes the matrix of a site.

    Args:
        view: The elements of the parameter.
        axis: Which axis of the view the matrix acts on.
        indices: The indices of the axis that are mixed, ``(copies, size)``; each copy is mixed by itself.
        powers: For each copy 1 (the matrix) or -1 (its inverse, transposed), ``(copies,)``.
    """

    view: View
    axis: int
    indices: Tensor
    powers: Tensor


@dataclass(frozen=True, eq=False)
class MatrixSite:
    """Hidden numbers that any matrix of a group may act on without changing what the model computes.

    Args:
        name: The parameter that makes the numbers, with the first of them: ``blocks.0.attn.qkv.weight[16]``.
        kind: ``linear``: all invertible matrices. ``orthogonal``. ``rotation about ones``: orthogonal
            matrices that leave the vector of ones as it is.
        size: Number of rows of the matrix.
        places: The parameters that take it.
        conditions: What must hold of other parameters, as of the gains of a norm that the numbers pass.
    """

    name: str
    kind: str
    size: int
    places: tuple[Place, ...]
    conditions: tuple[Condition, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Paths of the parameters that take the matrix."""
        return tuple(dict.fromkeys(place.view.name for place in self.places))

    @property
    def dimension(self) -> int:
        """Number of continuous degrees of freedom."""
        free = self.size - (self.kind == "rotation about ones")
        return free * free if self.kind == "linear" else free * (free - 1) // 2

    def put(self, matrix: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Let ``matrix`` act on contiguous float64 tensors, in place."""
        transposed_inverse = matrix if self.kind != "linear" else torch.linalg.inv(matrix).T
        for place in self.places:
            elements = place.view.of(tensors[place.view.name])
            for index, power in zip(place.indices, place.powers.tolist(), strict=True):
                acting = matrix if power > 0 else transposed_inverse
                before = elements.index_select(place.axis, index)
                after = torch.tensordot(acting, before, ([1], [place.axis])).movedim(0, place.axis)
                elements.index_copy_(place.axis, index, after)

    def __repr__(self) -> str:
        where = ", ".join(self.parameters)
        return f"MatrixSite({self.name!r}, {self.kind}, {self.size} x {self.size}: {where})"


def matrix_sites(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    tape: Tape | None = None,
) -> tuple[MatrixSite, ...]:
    """Return where matrices can act on the hidden numbers of a model and leave its outputs as they are.

    Found by following every number from the parameter that makes it to those that read it: attention scores
    (queries by ``A``, keys by its inverse transposed), values and what reads them, low-rank factors,
    embeddings, residual streams under norms. What an operation without a rule touches is left out. Numbers
    that only scales and permutations can act on are no sites: these are
    :func:`snnkit.teleport.symmetries`.

    Args:
        model: Any module; it is not changed. Gains of norms count as passed if all their elements are equal;
            :func:`fold_gains` makes them so.
        example_inputs: A tensor, or the positional arguments. Short sequences and one sample suffice.
        example_kwargs: Keyword arguments.
        tape: The model's tape on these inputs, if it was recorded before.
    """
    if tape is None:
        tape = record(model, example_inputs, example_kwargs)
    return sites_of_trace(trace(model, tape))


def sites_of_trace(found: Trace) -> tuple[MatrixSite, ...]:
    """Return the sites of a model whose tape was followed."""
    blocks = [block for block in found.constraints.blocks() if block.size > 1 and not block.diagonal]
    if not blocks:
        return ()
    classes, _, _ = found.constraints.classes()
    relied = [
        (condition, set(classes[nodes.numpy()[nodes.numpy() >= 0]].tolist()) if len(nodes) else None)
        for condition, nodes in found.conditions
    ]
    sites, names = [], set[str]()
    for block in blocks:
        conditions = dict.fromkeys(
            condition for condition, its in relied if its is None or its & set(block.classes)
        )
        site = _site(block, tuple(conditions))
        if site.name not in names:
            names.add(site.name)
            sites.append(site)
    return tuple(sites)


def _site(block: Block, conditions: tuple[Condition, ...]) -> MatrixSite:
    places = tuple(
        Place(side.view, side.axis, torch.from_numpy(nodes - side.first), torch.from_numpy(powers))
        for side, nodes, powers in block.places
    )
    first = places[0]
    name = f"{first.view.name}[{_position(first)}]"
    return MatrixSite(name, block.kind, block.size, places, conditions)


def _position(place: Place) -> int:
    """Return which index of the parameter's axis is the first of the site."""
    stride = place.view.strides[place.axis]
    return place.view.offset // stride + int(place.indices[0, 0])
