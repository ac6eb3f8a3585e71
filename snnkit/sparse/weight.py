"""A weight of which only some numbers are stored: its tensors, whatever is done with it."""

import operator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from snnkit.sparse import formats, state
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.restructure import StructureChange, matches, move_values
from snnkit.sparse.structure import Compressed, Generation, Pattern, transposed
from snnkit.sparse.written_out import written_out

__all__ = ["SparseWeight"]

_STORED = ("crow_indices", "col_indices", "ccol_indices", "row_indices")
_TURNED = ("turned_pointers", "turned_indices", "turned_order")


class SparseWeight(nn.Module):
    """The base of sparse layers: :attr:`values`, and buffers that say where in the weight they stand.

    The weight is ``(out_features, in_features)``. What products with the other direction need is worked out
    at the first of them and kept in the buffers ``turned_*``.
    """

    values: nn.Parameter
    bias: nn.Parameter | None

    def _prepare(self, shape: tuple[int, int], kind: str, block: tuple[int, int]) -> None:
        """Set everything but the weights."""
        super().__init__()
        for name, size in zip(("out_features", "in_features"), shape, strict=True):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise SparsityError(
                    f"{type(self).__name__}: {name} is a whole number from 1 on, not {size!r}."
                )
        self.out_features, self.in_features = shape
        self.block = (int(block[0]), int(block[1])) if kind == "bsr" else (1, 1)
        formats.checked_format(kind, shape, self.block)
        self.format = kind
        self._generation = Generation()
        self._known: tuple[tuple[Tensor | None, ...], Pattern] | None = None
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
        return {name: cast("Tensor", self._buffers[name]) for name in formats.FORMATS[self.format]}

    def _place(self, places: Tensor) -> Tensor:
        """Put the weights at flat places, and return the order in which the format has them."""
        rows = torch.div(places, self.in_features, rounding_mode="floor")
        stored, order = formats.encode(self.format, rows, places % self.in_features, self.shape, self.block)
        for name in _STORED:
            self._keep(name, stored.get(name))
        self._turn(None)
        self._generation.is_current = False
        self._generation = Generation()
        return order

    def _turn(self, turned: Compressed | None) -> None:
        """Keep the other direction of the weight for the calls to come, or forget it."""
        kept = (None, None, None) if turned is None else (turned.pointers, turned.indices, turned.order)
        for name, tensor in zip(_TURNED, kept, strict=True):
            self._keep(name, tensor)

    def _keep(self, name: str, tensor: Tensor | None) -> None:
        """Set a buffer, or remove it: torch.export miscounts buffers that are None."""
        self._buffers.pop(name, None)
        if tensor is not None:
            self.register_buffer(name, tensor, persistent=False)

    def _kept_turn(self) -> Compressed | None:
        pointers, indices, order = (self._buffers.get(name) for name in _TURNED)
        return None if pointers is None or indices is None else Compressed(pointers, indices, order)

    def _pattern(self, both_directions: bool) -> Pattern:
        """Return the structure as products use it; the other direction is kept where a product needs it."""
        if self._known is not None:
            tensors, known = self._known
            # Buffers are exchanged by to(), loading and functional_call().
            same = len(tensors) == len(self._buffers) and all(
                map(operator.is_, tensors, self._buffers.values())
            )
            if same and (not both_directions or known.has_both_directions):
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
        self._known = (tuple(self._buffers.values()), made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

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
