"""A linear layer that is sparse in memory and in arithmetic, and is trained as it is."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from snnkit.sparse import crossover, formats, state, tracing
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.event_products import event_product
from snnkit.sparse.initial import random_weights
from snnkit.sparse.products import product
from snnkit.sparse.restructure import StructureChange, checked_share, restructured
from snnkit.sparse.weight import SparseWeight
from snnkit.utilities.errors import ShapeError, unknown_key_message

__all__ = ["MODES", "SparseLayer"]

MODES = ("sparse", "dense", "events", "auto")


class SparseLayer(SparseWeight):
    """``y = x @ weight.T + bias`` with a weight that has few numbers: only those are stored and multiplied.

    The numbers are one dense parameter, :attr:`values`, which every optimiser takes. A forward pass
    multiplies by the rows of the weight, the gradient of the inputs by its columns, and the gradient of the
    values is computed where there are weights and nowhere else; no dense matrix is made in training or
    evaluation. All formats can be trained.

    Shapes: ``x`` ``(..., in_features)``, ``y`` ``(..., out_features)``, the weight
    ``(out_features, in_features)``.

    Args:
        in_features: Inputs.
        out_features: Outputs.
        bias: Whether there is a bias.
        csr_mode: Whether the format is ``csr``; else it is ``coo``. Both are trained alike.
        train_mode: Whether the layer starts in training mode, as after ``train()``, or as after ``eval()``.
        k: Share of the weights that :meth:`prune_smallest_values` removes at a time, above 0 and at most 1.
        format: ``csr``, ``coo``, ``csc`` or ``bsr`` (:mod:`snnkit.sparse.formats`), in place of ``csr_mode``.
        block: Rows and columns of a block of ``bsr``; other formats have none.
        mode: ``sparse``; ``dense``, which writes the weight out at every call and uses dense products;
            ``auto``, which takes whichever of the two was measured to be faster for the density and the batch
            (:mod:`snnkit.sparse.crossover`); or ``events``, for inputs that are mostly zero, of which it
            reads only the weights of inputs that are not.
        density: Share of weights that there are, at random places; the default, 1, is as in ``nn.Linear``.
        generator: For places and values of the weights.
        device: Where the parameters are.
        dtype: Type of the parameters.

    Raises:
        SparsityError: an argument is outside its range, or the format does not fit the shape.
    """

    def __init__(  # noqa: PLR0917 - the order its users know
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        csr_mode: bool = False,
        train_mode: bool = True,
        k: float = 0.05,
        *,
        format: str | None = None,
        block: tuple[int, int] = (4, 4),
        mode: str = "sparse",
        density: float = 1.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if csr_mode and format not in (None, "csr"):
            raise SparsityError(
                f"SparseLayer: csr_mode=True contradicts format={format!r}; give one of the two."
            )
        kind = format or ("csr" if csr_mode else "coo")
        self._prepare((out_features, in_features), kind, block)
        self.mode = mode
        self.set_k(k)
        places = random_weights(self.shape, self.block, density, generator)
        bound = 1 / math.sqrt(max(1.0, len(places) / out_features))

        def uniform(count: int) -> nn.Parameter:
            numbers = torch.rand(count, generator=generator, device="cpu").mul_(2 * bound).sub_(bound)
            return nn.Parameter(numbers.to(dtype=dtype))

        self.values = uniform(len(places))
        self.bias = uniform(out_features) if bias else None
        # Places are sorted on the CPU, which also makes layers without numbers, on the meta device.
        self._place(places)
        self.to(torch.get_default_device() if device is None else device)
        self.train(train_mode)

    @classmethod
    def from_weights(
        cls,
        shape: tuple[int, int],
        places: Tensor,
        numbers: Tensor,
        bias: Tensor | None = None,
        *,
        format: str = "csr",
        block: tuple[int, int] = (4, 4),
        mode: str = "sparse",
        k: float = 0.05,
    ) -> "SparseLayer":
        """Return a layer with given weights; tensors are copied.

        Args:
            shape: ``(out_features, in_features)``.
            places: flat places of the weights, ``row * in_features + column``, int64, each once.
            numbers: weights at these places.
            bias: ``(out_features,)``, or None.
            format: see :class:`SparseLayer`, as ``block``, ``mode`` and ``k``.
            block: see :class:`SparseLayer`.
            mode: see :class:`SparseLayer`.
            k: see :class:`SparseLayer`.
        """
        layer = cls.__new__(cls)
        layer._prepare(shape, format, block)
        layer.mode = mode
        layer.set_k(k)
        layer.values = nn.Parameter(numbers.detach()[layer._place(places)].clone())
        layer.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        return layer

    # --- What its users know ------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """How products are computed: ``sparse``, ``dense``, ``events`` or ``auto``."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise SparsityError(f"SparseLayer: {unknown_key_message('mode', str(mode), MODES)}")
        self._mode = mode

    @property
    def csr_mode(self) -> bool:
        """Whether the format is ``csr``."""
        return self.format == "csr"

    @property
    def is_CSR(self) -> bool:  # noqa: N802 - the name its users know
        """Whether the format is ``csr``."""
        return self.csr_mode

    @property
    def train_mode(self) -> bool:
        """Whether the layer is in training mode: ``training``, as the constructor calls it."""
        return self.training

    def extra_repr(self) -> str:
        """Return the layer's line in a printed model."""
        parts = [
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}",
            f"csr_mode={self.csr_mode}, k={self.k:g}, format={self.format}, nnz={self.nnz}",
            f"density={self.density:.4g}",
        ]
        if self.format == "bsr":
            parts.append(f"block={self.block}")
        return ", ".join(parts if self.mode == "sparse" else [*parts, f"mode={self.mode}"])

    # --- Computing -----------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ weight.T + bias`` for ``x`` ``(..., in_features)``.

        Raises:
            ShapeError: the last axis of ``x`` does not have ``in_features`` numbers.
            SparsityError: ``x`` is a sparse tensor, or has another type than the layer, outside autocast.
        """
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(
                f"SparseLayer takes (..., {self.in_features}), its in_features last; the input has shape "
                f"{tuple(x.shape)}."
            )
        if x.layout != torch.strided:
            raise SparsityError(f"SparseLayer takes dense inputs, not {x.layout}: call to_dense() first.")
        if x.is_meta:
            return x.new_empty(*x.shape[:-1], self.out_features)
        x, values, bias = self._cast(x)
        if self._goes_dense(x):
            return F.linear(x, self._written_out(values), bias)
        flat = x.reshape(-1, self.in_features)
        if torch.compiler.is_compiling():
            stored = formats.primary(self.format, self._stored())
            y = tracing.traced_product(
                values, flat, stored, self._kept_turn(), self.format, self.shape, self.block
            )
        else:
            multiply = event_product if self.mode == "events" else product
            trains_inputs = torch.is_grad_enabled() and x.requires_grad
            y = multiply(values, flat, self._pattern(trains_inputs or self.mode == "events"))
        y = y.view(*x.shape[:-1], self.out_features)
        return y if bias is None else y + bias

    def _cast(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return input and parameters in the type of the product."""
        kind = x.device.type
        if torch.is_autocast_enabled(kind) and x.dtype != torch.float64 and x.is_floating_point():
            dtype = torch.get_autocast_dtype(kind)
            return x.to(dtype), self.values.to(dtype), None if self.bias is None else self.bias.to(dtype)
        if not self.values.is_floating_point():
            raise SparsityError(f"SparseLayer computes with real numbers, not {self.values.dtype}.")
        if x.dtype != self.values.dtype:
            raise SparsityError(
                f"SparseLayer has weights of type {self.values.dtype} and was given {x.dtype}: convert "
                "one of the two, with x.to(...) or layer.to(...)."
            )
        return x, self.values, self.bias

    def _goes_dense(self, x: Tensor) -> bool:
        if self.mode != "auto":
            return self.mode == "dense"
        batch = math.prod(x.shape[:-1])
        trains = torch.is_grad_enabled() and (x.requires_grad or self.values.requires_grad)
        return crossover.dense_is_faster(self.density, batch, trains, x.device.type)

    def train(self, mode: bool = True) -> "SparseLayer":
        """Set the training mode; leaving it frees what only gradients need."""
        super().train(mode)
        if not mode and self.format != "csc" and self.mode != "events":
            self._turn(None)
        return self

    # --- Pruning by hand, and other weights ----------------------------------------------------------

    @property
    def k(self) -> float:
        """Share of the weights that :meth:`prune_smallest_values` removes at a time."""
        return self._k

    @k.setter
    def k(self, k: float) -> None:
        self.set_k(k)

    def set_k(self, k: float) -> None:
        """Set the share of the weights that :meth:`prune_smallest_values` removes at a time.

        Raises:
            SparsityError: it is not above 0 and at most 1.
        """
        self._k = checked_share(k)

    def prune_smallest_values(self, optimizer: Optimizer | None = None) -> StructureChange:
        """Remove the share ``k`` of the weights that are left, those of the smallest magnitude.

        The number is rounded. Blocks of the format ``bsr`` go as a whole, by the sum of their magnitudes.

        Args:
            optimizer: as :func:`~snnkit.sparse.change_structure` takes it.

        Raises:
            SparsityError: no weight would be left; the layer is as it was.
        """
        size = self.block[0] * self.block[1]
        magnitudes = self.values.detach().abs().view(-1, size).sum(1)
        kept = torch.argsort(magnitudes, stable=True)[self._prunes() :]
        inside = torch.arange(size, device=kept.device)
        places = self.flat_indices()[(kept[:, None] * size + inside).reshape(-1)]
        return restructured(self, places, optimizer)

    def _prunes(self) -> int:
        """Return how many weights, or blocks, ``k`` removes."""
        return round(self.k * self.nnz / (self.block[0] * self.block[1]))

    def would_empty(self) -> bool:
        """Whether :meth:`prune_smallest_values` would leave no weight."""
        return self._prunes() * self.block[0] * self.block[1] >= self.nnz

    def remove_zeros_from_weight(self, optimizer: Optimizer | None = None) -> StructureChange:
        """Remove the weights that are exactly zero; blocks of ``bsr`` where all of them are.

        Raises:
            SparsityError: no weight would be left; the layer is as it was.
        """
        size = self.block[0] * self.block[1]
        nonzero = (self.values.detach() != 0).view(-1, size).any(1).repeat_interleave(size)
        return restructured(self, self.flat_indices()[nonzero], optimizer)

    def assign_new_weight(self, weight: Tensor, optimizer: Optimizer | None = None) -> None:
        """Take another weight, dense or sparse: what is not zero in it is stored.

        Args:
            weight: ``(out_features, in_features)``, in any layout of torch.
            optimizer: as :func:`~snnkit.sparse.change_structure` takes it.

        Raises:
            SparsityError: its shape or type is another, or all of it is zero; the layer is as it was.
        """
        places, numbers = state.places_and_numbers(weight, self.shape, self.block)
        if weight.dtype != self.values.dtype:
            raise SparsityError(
                f"SparseLayer has weights of type {self.values.dtype}; the new weight is {weight.dtype}."
            )
        places, numbers = places.to(self.values.device), numbers.to(self.values.device)
        restructured(self, places, optimizer)
        order, wanted = torch.argsort(self.flat_indices()), torch.argsort(places)
        with torch.no_grad():
            self.values[order] = numbers[wanted]

    def switch_to(self, format: str, block: tuple[int, int] = (4, 4)) -> None:
        """Store the same weights in another format; :attr:`values` stays the same parameter.

        An optimiser that has state for values would no longer fit if their order changed: the formats that a
        layer switches between have one order. For others make a new layer with
        :func:`~snnkit.sparse.convert`.

        Raises:
            SparsityError: there is no such format, or its order is another.
        """
        formats.checked_format(format, self.shape, block)
        if format == self.format:
            return
        if {format, self.format} != {"csr", "coo"}:
            raise SparsityError(
                f"A layer in the format {self.format!r} cannot switch to {format!r}, which has its values "
                f"in another order: use convert(layer, {format!r}), before the optimiser is made."
            )
        rows, _ = self.coordinates()
        if format == "coo":
            self._keep("row_indices", rows.to(cast("Tensor", self._buffers["col_indices"]).dtype))
        else:
            self._keep("row_indices", None)
        self.format = format

    def switch_to_CSR(self) -> None:  # noqa: N802
        """Store the weights in the format ``csr``."""
        self.switch_to("csr")

    def switch_to_COO(self) -> None:  # noqa: N802
        """Store the weights in the format ``coo``."""
        self.switch_to("coo")
