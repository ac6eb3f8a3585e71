"""The synapses between two populations: a sparse matrix whose rows are the senders."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snnkit.nn.modules.attributes import Attribute
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.initial import random_weights
from snnkit.sparse.restructure import places_of_mask, restructured
from snnkit.sparse.structure import Pattern
from snnkit.sparse.weight import SparseWeight

__all__ = ["Synapses", "new_synapses"]


class Synapses(SparseWeight):
    """Sparse weights ``(sources, targets)``: the child in which a spiking module keeps its matrix.

    The numbers are one parameter, :attr:`values`, of the family ``"weights"``, row by row: the synapses of
    one source lie together, so that an event reads what it needs and nothing else. Masks, flat places and
    dense weights are ``(sources, targets)``, as the matrices of ``LinearTorch`` and ``LIFTorch`` are.

    Args:
        shape: ``(sources, targets)``.
        places: flat places of the weights, ``source * targets + target``, int64, each once.
        numbers: weights at these places; random ones by default.
        stands_for: the name that the dense module has for the matrix: ``weight`` or ``w_rec``.
        generator: for random weights.
    """

    tensors_follow_structure = True
    """Files hold what ``state_dict()`` returns, of whatever structure."""

    # What the tree of a spiking module needs to know of the parameter of a plain torch module.
    _registry: ClassVar[dict[str, Attribute]] = {
        "values": Attribute("Parameter", "weights", torch.zeros, (), (), True)
    }

    def __init__(
        self,
        shape: tuple[int, int],
        places: Tensor,
        numbers: Tensor | None = None,
        *,
        stands_for: str,
        generator: torch.Generator | None = None,
    ) -> None:
        self._prepare(shape, "csr", (1, 1))
        self.__dict__["_registry"] = self._registry
        self.stands_for = stands_for
        self.watch: Callable[[Tensor], None] | None = None
        self._flipped: tuple[Pattern, Pattern] | None = None
        if numbers is None:
            self.values = nn.Parameter(torch.empty(len(places), device=places.device))
            self._place(places)
            self.reset_parameters(generator)
        else:
            self.values = nn.Parameter(numbers.detach()[self._place(places)].clone())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights ``U(-b, b)``, ``b = sqrt(6 / n)`` for the ``n`` that there are of a dense fan-in."""
        fan = self.in_features if self.stands_for == "w_rec" else self.out_features
        bound = math.sqrt(6 / max(1.0, fan * self.density))
        with torch.no_grad():
            drawn = torch.rand(self.nnz, generator=generator, device="cpu").mul_(2 * bound).sub_(bound)
            self.values.copy_(drawn)

    def pattern(self) -> Pattern:
        """Return the structure as products of events use it: rows are targets, columns are sources."""
        known = self._pattern(False)
        if self._flipped is None or self._flipped[0] is not known:
            flipped = Pattern(
                (self.in_features, self.out_features),
                rows=known.columns,
                columns=known.rows,
                generation=known.generation,
            )
            self._flipped = known, flipped
        return self._flipped[1]

    def watch_product(self, sources: Callable[[], Tensor], received: Tensor) -> None:
        """While dense gradients are collected, have that of this matrix told in the backward pass.

        Args:
            sources: returns what the matrix multiplies, ``(..., sources)``.
            received: the product, or a summand beside it that requires a gradient, ``(..., targets)``.
        """
        watch = self.watch
        if watch is None or not received.requires_grad:
            return

        def told(g: Tensor) -> None:
            x = sources().detach()
            watch(x.reshape(-1, x.shape[-1]).to(g.dtype).T @ g.detach().reshape(-1, g.shape[-1]))

        received.register_hook(told)

    def assign(self, weight: Tensor) -> None:
        """Take the weights of a dense or sparse matrix; its zeros are no synapses.

        Raises:
            SparsityError: it has another shape, or nothing but zeros.
        """
        if tuple(weight.shape) != self.shape:
            raise SparsityError(
                f"{self.stands_for} is {self.shape}, sources by targets; the matrix given is "
                f"{tuple(weight.shape)}."
            )
        matrix = weight.detach()
        dense = (matrix if matrix.layout == torch.strided else matrix.to_dense()).reshape(-1)
        restructured(self, dense.nonzero().reshape(-1).to(self.values.device), None)
        with torch.no_grad():
            self.values.copy_(dense[self.flat_indices().to(dense.device)])

    def extra_repr(self) -> str:
        """Return the line of the synapses in a printed model."""
        return (
            f"{self.stands_for}: {self.out_features} x {self.in_features}, nnz={self.nnz}, "
            f"density={self.density:.4g}"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_flipped": None, "watch": None}


def new_synapses(  # noqa: PLR0917
    shape: tuple[int, int],
    stands_for: str,
    weight: Tensor | None,
    mask: Tensor | None,
    density: float | None,
    generator: torch.Generator | None,
) -> Synapses:
    """Return synapses: of a mask, at random places, or where a given weight is not zero.

    Raises:
        SparsityError: both a mask and a density; a shape does not fit; nothing is left.
    """
    if mask is not None and density is not None:
        raise SparsityError("Either a mask or a density says which synapses there are, not both.")
    if weight is not None and tuple(weight.shape) != shape:
        raise SparsityError(
            f"{stands_for} is {shape}, sources by targets; the matrix given is {tuple(weight.shape)}."
        )
    if mask is not None:
        places = places_of_mask(mask, shape)
    elif density is not None or weight is None:
        places = random_weights(shape, (1, 1), 1.0 if density is None else density, generator)
    else:
        places = weight.detach().reshape(-1).nonzero().reshape(-1)
    if not len(places):
        raise SparsityError(f"No synapse is left of {stands_for}: give a mask, or weights, not all zero.")
    numbers = None
    if weight is not None:
        places = places.to(weight.device)
        numbers = weight.detach().reshape(-1)[places]
    return Synapses(shape, places, numbers, stands_for=stands_for, generator=generator)
