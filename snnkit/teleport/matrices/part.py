"""Matrices at sites, as a part of an element."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from snnkit.teleport.errors import TeleportError
from snnkit.teleport.matrices.sampling import haar, invertible, rotation_about_ones
from snnkit.teleport.matrices.sites import MatrixSite, Place
from snnkit.teleport.matrices.tracing import Condition
from snnkit.teleport.matrices.views import View
from snnkit.teleport.parts import Part, register_part
from snnkit.utilities.errors import FileFormatError, unknown_key_message

if TYPE_CHECKING:
    from snnkit.teleport.symmetries import Symmetries

__all__ = ["MatrixPart", "matrix_part", "random_matrices"]

_KINDS = ("linear", "orthogonal", "rotation about ones")
_TOLERANCE = 1e-9


@register_part
@dataclass(frozen=True, eq=False)
class MatrixPart(Part):
    """A matrix for each of some sites.

    Args:
        sites: Where.
        matrices: For each site, ``(size, size)`` float64: hidden numbers ``h`` become ``matrix @ h``.
    """

    kind: ClassVar[str] = "matrices.sites"

    sites: tuple[MatrixSite, ...]
    matrices: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        # Products with other strides round otherwise: an element read from a file must act alike to the bit.
        object.__setattr__(self, "matrices", tuple(matrix.contiguous() for matrix in self.matrices))

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the new values of the parameters that take the matrices; see :class:`Part`.

        Raises:
            TeleportError: a parameter is missing or of another size, or a condition of a site does not hold.
        """
        self._check(tensors)
        names = dict.fromkeys(name for site in self.sites for name in site.parameters)
        exact = {
            name: tensors[name].detach().to(torch.float64, memory_format=torch.contiguous_format, copy=True)
            for name in names
        }
        for site, matrix in zip(self.sites, self.matrices, strict=True):
            device = exact[site.places[0].view.name].device
            site.put(matrix.to(device), exact)
        return {name: tensor.to(tensors[name].dtype) for name, tensor in exact.items()}

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        problems: dict[str, None] = {}
        for site in self.sites:
            for place in site.places:
                tensor = tensors.get(place.view.name)
                if tensor is None:
                    problems[unknown_key_message("parameter", place.view.name, tensors)] = None
                elif tensor.numel() < place.view.end:
                    problems[
                        f"{place.view.name} has {tensor.numel()} elements; {site.name} acts on number "
                        f"{place.view.end}."
                    ] = None
            for condition in site.conditions:
                problem = _broken(condition, tensors)
                if problem:
                    problems[f"{site.name}: {problem}"] = None
        if problems:
            raise TeleportError("These matrices do not fit the model. " + " ".join(problems))

    def then(self, later: Self) -> Self:
        """Return the part that does this one and then ``later``.

        Sites of one name must be the same place of the same model.
        """
        sites = {site.name: site for site in (*later.sites, *self.sites)}
        matrices = dict(zip((site.name for site in self.sites), self.matrices, strict=True))
        for site, matrix in zip(later.sites, later.matrices, strict=True):
            before = matrices.get(site.name)
            matrices[site.name] = matrix if before is None else matrix @ before
        return type(self)(tuple(sites[name] for name in matrices), tuple(matrices.values()))

    def inverse(self) -> Self:
        """Return the part that takes this one back."""
        turned = tuple(
            torch.linalg.inv(matrix) if site.kind == "linear" else matrix.T
            for site, matrix in zip(self.sites, self.matrices, strict=True)
        )
        return type(self)(self.sites, turned)

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return all(torch.equal(m, torch.eye(len(m), dtype=m.dtype)) for m in self.matrices)

    @property
    def condition(self) -> float:
        """The largest condition number of the matrices, on which rounding errors depend."""
        return max((float(torch.linalg.cond(matrix)) for matrix in self.matrices), default=1.0)

    # --- Files --------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the matrices, and as JSON in bytes where they act."""
        described = [_site_as_json(site) for site in self.sites]
        text = np.frombuffer(json.dumps(described).encode(), np.uint8)
        found = {"sites": torch.from_numpy(text.copy())}
        return found | {f"matrix.{i}": matrix for i, matrix in enumerate(self.matrices)}

    @classmethod
    def from_tensors(cls, symmetries: "Symmetries", tensors: Mapping[str, Tensor]) -> Self:
        """Return the part that :meth:`to_tensors` wrote.

        Raises:
            FileFormatError: the sites or matrices are damaged.
        """
        try:
            described = json.loads(bytes(tensors["sites"].to(torch.uint8).tolist()))
            sites = tuple(_site_from_json(entry) for entry in described)
            matrices = tuple(tensors[f"matrix.{i}"] for i in range(len(sites)))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise FileFormatError(f"The matrices of this element are damaged: {error!r}.") from error
        found = matrix_part(sites, {s.name: m for s, m in zip(sites, matrices, strict=True)})
        return cls(found.sites, found.matrices)


def matrix_part(sites: Iterable[MatrixSite], matrices: Mapping[str, Tensor]) -> MatrixPart:
    """Return the part that lets a matrix act at each site named.

    Args:
        sites: All sites, as :func:`matrix_sites` finds them.
        matrices: ``(size, size)`` by name of the site.

    Raises:
        TeleportError: there is no such site, or a matrix is not in the group of its site.
    """
    by_name = {site.name: site for site in sites}
    problems = [
        unknown_key_message("site", name, by_name)
        if name not in by_name
        else _problem_of(by_name[name], matrix)
        for name, matrix in matrices.items()
    ]
    found = [problem for problem in problems if problem]
    if found:
        raise TeleportError(" ".join(found))
    exact = tuple(matrix.detach().to("cpu", torch.float64) for matrix in matrices.values())
    return MatrixPart(tuple(by_name[name] for name in matrices), exact)


def random_matrices(
    sites: Iterable[MatrixSite],
    *,
    condition: float = 4.0,
    kinds: Iterable[str] = _KINDS,
    generator: torch.Generator | None = None,
) -> MatrixPart:
    """Draw a matrix for each site of the given kinds.

    Args:
        sites: As :func:`matrix_sites` finds them.
        condition: Largest condition number of the invertible matrices; orthogonal ones are uniform.
        kinds: ``linear``, ``orthogonal``, ``rotation about ones``.
        generator: Source of random numbers.

    Raises:
        TeleportError: there is no such kind.
        ConfigurationError: ``condition`` is below 1.
    """
    chosen = tuple(kinds)
    for name in chosen:
        if name not in _KINDS:
            raise TeleportError(unknown_key_message("kind of site", name, _KINDS))
    own = tuple(site for site in sites if site.kind in chosen)
    drawn = {
        "linear": lambda size: invertible(size, condition, generator),
        "orthogonal": lambda size: haar(size, generator),
        "rotation about ones": lambda size: rotation_about_ones(size, generator),
    }
    return MatrixPart(own, tuple(drawn[site.kind](site.size) for site in own))


def _problem_of(site: MatrixSite, matrix: Tensor) -> str:
    n = site.size
    if matrix.shape != (n, n):
        return f"The matrix for {site.name} has the shape {tuple(matrix.shape)}; ({n}, {n}) is needed."
    exact = matrix.detach().to("cpu", torch.float64)
    if not bool(exact.isfinite().all()):
        return f"The matrix for {site.name} has entries that are not finite."
    if site.kind == "linear":
        rank = int(torch.linalg.matrix_rank(exact))
        return "" if rank == n else f"The matrix for {site.name} has rank {rank}; it must be invertible."
    distance = float((exact @ exact.T - torch.eye(n, dtype=torch.float64)).abs().max())
    if distance > _TOLERANCE:
        return (
            f"The matrix for {site.name} is not orthogonal: the largest deviation is {distance:.1e}, "
            f"{_TOLERANCE:.0e} is allowed."
        )
    moved = float((exact.sum(1) - 1).abs().max())
    if site.kind == "rotation about ones" and moved > _TOLERANCE * n:
        return f"The matrix for {site.name} moves the vector of ones by {moved:.1e}; it must not."
    return ""


def _broken(condition: Condition, tensors: Mapping[str, Tensor]) -> str:
    tensor = tensors.get(condition.name)
    if tensor is None or tensor.device.type == "meta":
        return ""
    if condition.is_zero:
        return f"{condition.name} must be zero, and is not." if bool(tensor.any()) else ""
    if bool((tensor == tensor.reshape(-1)[0]).all()):
        return ""
    return f"{condition.name} must have equal elements, and has not: fold it first (fold_gains)."


def _site_as_json(site: MatrixSite) -> dict[str, Any]:
    places = [
        {
            "parameter": place.view.name,
            "offset": place.view.offset,
            "sizes": list(place.view.sizes),
            "strides": list(place.view.strides),
            "axis": place.axis,
            "indices": place.indices.tolist(),
            "powers": place.powers.tolist(),
        }
        for place in site.places
    ]
    conditions = [{"name": c.name, "is_zero": c.is_zero} for c in site.conditions]
    return {
        "name": site.name,
        "kind": site.kind,
        "size": site.size,
        "places": places,
        "conditions": conditions,
    }


def _site_from_json(entry: Mapping[str, Any]) -> MatrixSite:
    if entry["kind"] not in _KINDS:
        raise ValueError(unknown_key_message("kind of site", str(entry["kind"]), _KINDS))
    places = tuple(_place_from_json(place, int(entry["size"])) for place in entry["places"])
    conditions = tuple(Condition(str(c["name"]), bool(c["is_zero"])) for c in entry["conditions"])
    if not places:
        raise ValueError("a site without places")
    return MatrixSite(str(entry["name"]), entry["kind"], int(entry["size"]), places, conditions)


def _place_from_json(entry: Mapping[str, Any], size: int) -> Place:
    sizes, strides = tuple(map(int, entry["sizes"])), tuple(map(int, entry["strides"]))
    axis, offset = int(entry["axis"]), int(entry["offset"])
    indices = torch.tensor(entry["indices"], dtype=torch.int64)
    powers = torch.tensor(entry["powers"], dtype=torch.int64)
    fits = (
        len(sizes) == len(strides) > axis >= 0
        and min((*sizes, *strides, offset + 1)) > 0
        and indices.shape == (len(powers), size)
        and bool(((indices >= 0) & (indices < sizes[axis])).all())
        and bool((powers.abs() == 1).all())
        and indices.flatten().unique().numel() == indices.numel()
    )
    if not fits:
        raise ValueError(f"impossible indices of {entry['parameter']!r}")
    return Place(View(str(entry["parameter"]), offset, sizes, strides), axis, indices, powers)
