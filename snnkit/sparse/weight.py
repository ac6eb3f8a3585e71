"""A weight of which only some numbers are stored: its tensors, whatever is done with it."""

import operator
import zlib
from collections.abc import Iterable
from numbers import Integral
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from snnkit.sparse import formats, state
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.restructure import StructureChange, matches, move_values
from snnkit.sparse.structure import Compressed, Generation, Pattern, transposed
from snnkit.sparse.written_out import written_at, written_out

__all__ = ["SparseWeight"]

_STORED = ("crow_indices", "col_indices", "ccol_indices", "row_indices")


class SparseWeight(nn.Module):
    """The base of sparse layers: :attr:`values`, and buffers that say where in the weight they stand.

    The weight is ``(out_features, in_features)``. What products with the other direction need is worked out
    at the first of them and kept, though not as buffers: a model and its average must have the same ones.
    """

    values: nn.Parameter
    bias: nn.Parameter | None

    def _prepare(self, shape: tuple[int, int], kind: str, block: tuple[int, int]) -> None:
        """Set everything but the weights."""
        super().__init__()
        for name, size in zip(("out_features", "in_features"), shape, strict=True):
            if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
                raise SparsityError(
                    f"{type(self).__name__}: {name} is a whole number from 1 on, not {size!r}."
                )
        self.out_features, self.in_features = shape = (int(shape[0]), int(shape[1]))
        self.block = (int(block[0]), int(block[1])) if kind == "bsr" else (1, 1)
        formats.checked_format(kind, shape, self.block)
        self.format = kind
        self._generation = Generation()
        self._turned: tuple[Tensor, ...] = ()
        self._fingerprint = 0
        self._known: tuple[tuple[Tensor | None, ...], list[int], Pattern] | None = None
        self.register_parameter("values", None)
        self.register_parameter("bias", None)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight, ``(out_features, in_features)``."""
        return self.out_features, self.in_features

    @property
    def nnz(self) -> int:
        """Weights that are stored."""
        return self.values.numel()

    @property
    def density(self) -> float:
        """Share of the weights of a dense layer that this one stores."""
        return self.nnz / (self.out_features * self.in_features)

    @property
    def sparsity(self) -> float:
        """Share of the weights of a dense layer that this one lacks."""
        return 1 - self.density

    def coordinates(self) -> tuple[Tensor, Tensor]:
        """Return row and column of each weight, int64 ``(nnz,)``, in the order of :attr:`values`."""
        return formats.coordinates(self.format, self._stored(), self.block)

    def flat_indices(self) -> Tensor:
        """Return ``row * in_features + column`` of each weight, in the order of :attr:`values`."""
        rows, columns = self.coordinates()
        return rows * self.in_features + columns

    def mask(self) -> Tensor:
        """Return where there are weights, bool ``(out_features, in_features)``."""
        mask = torch.zeros(self.out_features * self.in_features, dtype=torch.bool, device=self.values.device)
        return mask.index_fill_(0, self.flat_indices(), True).view(self.shape)

    def dense_weight(self) -> Tensor:
        """Return the weight as a dense matrix, which can be differentiated with respect to :attr:`values`."""
        return self._written_out(self.values)

    def _written_out(self, values: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return written_at(values, self.coordinates(), self.shape)
        return written_out(values, self._pattern(False))

    @property
    def weight(self) -> Tensor:
        """The weight as a sparse tensor of torch in the layer's format, differentiable in :attr:`values`."""
        return state.sparse_tensor(self.format, self._stored(), self.values, self.shape, self.block)

    # --- Structure -----------------------------------------------------------------------------------

    def _restructure(self, places: Tensor, optimizer: Optimizer | None) -> StructureChange:
        """Store weights at these flat places; everything has been checked."""
        before = self.flat_indices()
        ordered = places[self._place(places)]
        source = matches(ordered, before)
        move_values(self.values, source, optimizer)
        kept = int((source >= 0).sum())
        return StructureChange(kept, len(before) - kept, len(ordered) - kept)

    def _checked_places(self, places: Tensor) -> Tensor:
        """Return the places; for blocks, after having seen that each is whole."""
        if self.format == "bsr":
            state.check_blocks(places, self.shape, self.block)
        return places

    def _stored(self) -> dict[str, Tensor]:
        if not torch.compiler.is_compiling():
            self._check_indices()
        return {name: cast("Tensor", self._buffers[name]) for name in formats.FORMATS[self.format]}

    def _place(self, places: Tensor) -> Tensor:
        """Put the weights at flat places, and return the order in which the format has them."""
        rows = torch.div(places, self.in_features, rounding_mode="floor")
        stored, order = formats.encode(self.format, rows, places % self.in_features, self.shape, self.block)
        for name in _STORED:
            self._keep(name, stored.get(name))
        self._fingerprint = self._fingerprinted()
        self._turn(None)
        self._generation.is_current = False
        self._generation = Generation()
        return order

    def _turn(self, turned: Compressed | None) -> None:
        """Keep the other direction of the weight for the calls to come, or forget it."""
        self._turned = () if turned is None else turned.tensors()
        self._known = None

    def _keep(self, name: str, tensor: Tensor | None) -> None:
        """Set a buffer, or remove it: torch.export miscounts buffers that are None."""
        self._buffers.pop(name, None)
        if tensor is not None:
            self.register_buffer(name, tensor, persistent=False)

    def _kept_turn(self) -> Compressed | None:
        return Compressed(*self._turned) if self._turned else None

    def _fingerprinted(self) -> int:
        """Return a number that tells whether the tensors of the structure hold what they did."""
        stored = formats.primary(self.format, {name: t for name, t in self._buffers.items() if t is not None})
        if stored.indices.is_meta:
            return 0
        found = 0
        for tensor in stored.tensors():
            found = zlib.crc32(tensor.detach().cpu().contiguous().numpy().data, found)
        return found

    def _check_indices(self) -> None:
        """Raise :class:`SparsityError` if somebody wrote to the tensors of the structure."""
        if any(_versions(self._buffers.values())) and self._fingerprinted() != self._fingerprint:
            raise SparsityError(
                f"The places of the weights of a {type(self).__name__} were written over; its values belong "
                "to others. Averages of models and data-parallel copies write the buffers of one model to "
                "another: give both the same structure first, with change_structure() or load_state_dict(), "
                "and do not average buffers."
            )

    def _apply(self, fn: Any, recurse: bool = True) -> "SparseWeight":
        self._turn(None)
        super()._apply(fn, recurse)
        return self

    def _pattern(self, both_directions: bool) -> Pattern:
        """Return the structure as products use it; the other direction is kept where a product needs it."""
        if self._known is not None:
            tensors, versions, known = self._known
            # Buffers are exchanged by to(), loading and functional_call(), and written to by who knows whom.
            same = len(tensors) == len(self._buffers) and all(
                map(operator.is_, tensors, self._buffers.values())
            )
            if same and versions == _versions(tensors) and (not both_directions or known.has_both_directions):
                return known
        stored = formats.primary(self.format, self._stored())
        turned = self._kept_turn()
        if turned is None and (both_directions or self.format == "csc"):
            lines = self.out_features if self.format == "csc" else self.in_features // self.block[1]
            turned = transposed(stored, lines)
            self._turn(turned)
        made = formats.pattern(
            self.format, stored, turned, self.shape, self.block, generation=self._generation
        )
        tensors = tuple(self._buffers.values())
        self._known = (tensors, _versions(tensors), made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None, "_turned": ()}

    def _restructured_parameter(self) -> nn.Parameter:
        return self.values

    # --- Files ---------------------------------------------------------------------------------------

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        state.save(self, destination, prefix, keep_vars)

    def _load_from_state_dict(  # noqa: PLR0917 - as torch calls it
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        fitting = state.load(self, state_dict, prefix, local_metadata, missing_keys, error_msgs)
        if fitting is not None:
            super()._load_from_state_dict(
                fitting, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
            )


def _versions(tensors: Iterable[Tensor | None]) -> list[int]:
    """Return how often each tensor was written to, as far as torch counts it."""
    return [0 if tensor is None or tensor.is_inference() else tensor._version for tensor in tensors]
