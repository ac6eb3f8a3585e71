"""The product of a sparse layer as an autograd node that knows its sparsity.

One trilinear form, ``g^T A(v) x`` of values ``v``, inputs ``x`` and output gradients ``g``, gives all three
products: the output ``A(v) x``, the gradient ``A(v)^T g`` of the inputs, and that of the values, ``g x^T`` at
the weights alone. The derivative of each is made of the other two, so that gradients of any order are
computed without a dense matrix.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from snnkit.nn.backend import get_backend
from snnkit.nn.kernels.coverage import transformation
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.kernels import plain
from snnkit.sparse.structure import Compressed, Pattern, rows_of

__all__ = [
    "InputGradient",
    "Product",
    "ValueGradient",
    "both_gradients",
    "check_structure",
    "check_values",
    "forward_product",
    "gradients_of",
    "input_gradient",
    "multiply",
    "needs_general_node",
    "product",
    "sample",
    "value_gradient",
    "with_kernels",
]

_KERNEL_TYPES = (torch.float32, torch.float64)
_HALF_TYPES = (torch.float16, torch.bfloat16)


def with_kernels(tensor: Tensor) -> bool:
    """Whether the compiled kernels take a tensor; ``torch`` and ``reference`` are backends without them."""
    return (
        tensor.device.type == "cpu" and tensor.dtype in _KERNEL_TYPES and get_backend() in ("auto", "numba")
    )


def _torch_matrix(values: Tensor, compressed: Compressed, width: int) -> Tensor:
    numbers = values if compressed.order is None else values[compressed.order.long()]
    return torch.sparse_csr_tensor(
        compressed.pointers,
        compressed.indices,
        numbers,
        (len(compressed.pointers) - 1, width),
        check_invariants=False,
    )


def check_values(values: Tensor, nnz: int) -> None:
    """Raise :class:`SparsityError` unless there is one value for each weight; kernels read without asking."""
    if values.shape != (nnz,):
        raise SparsityError(
            f"{values.numel()} values do not belong to a structure of {nnz} weights: was it "
            "changed between a forward pass and its backward pass?"
        )


def multiply(values: Tensor, compressed: Compressed, x: Tensor) -> Tensor:
    """Return ``x @ matrix.T`` for ``x`` ``(batch, columns)``; sums of half precision are taken in float32."""
    check_values(values, compressed.indices.shape[0])
    if values.dtype in _HALF_TYPES:
        return multiply(values.float(), compressed, x.float()).to(x.dtype)
    lines = compressed.lines
    if not (x.shape[0] and values.shape[0]):
        return x.new_zeros(x.shape[0], lines)
    if with_kernels(x):
        from snnkit.sparse.kernels import launching

        return launching.multiply(values, compressed, x)
    if x.is_cuda:
        return (_torch_matrix(values, compressed, x.shape[1]) @ x.T).T.contiguous()
    numbers = values if compressed.order is None else values[compressed.order.long()]
    return plain.multiply(numbers, rows_of(compressed), compressed.indices.long(), x.T, lines).T.contiguous()


def sample(compressed: Compressed, g: Tensor, x: Tensor) -> Tensor:
    """Return ``g.T @ x`` at the weights, in the order of the values, for ``(batch, ...)`` tensors."""
    if x.dtype in _HALF_TYPES:
        return sample(compressed, g.float(), x.float()).to(x.dtype)
    if not (len(x) and len(compressed.indices)):
        return x.new_zeros(len(compressed.indices))
    if with_kernels(x):
        from snnkit.sparse.kernels import launching

        return launching.sample(compressed, g, x)
    if x.is_cuda:
        places = torch.zeros(len(compressed.indices), dtype=x.dtype, device=x.device)
        at = _torch_matrix(places, Compressed(compressed.pointers, compressed.indices), x.shape[1])
        found = torch.sparse.sampled_addmm(at, g.T.contiguous(), x, beta=0.0).values()
    else:
        found = plain.sample(rows_of(compressed), compressed.indices.long(), g.T, x.T)
    if compressed.order is None:
        return found
    return torch.empty_like(found).index_copy_(0, compressed.order.long(), found)


def _takes_blocks(values: Tensor, x: Tensor) -> bool:
    return with_kernels(x) and x.shape[0] > 0 and values.shape[0] > 0


def forward_product(values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    """Return ``x @ A(values).T``."""
    check_values(values, pattern.nnz)
    if pattern.blocks is not None and _takes_blocks(values, x):
        from snnkit.sparse.kernels import block_launching

        return block_launching.multiply(values, pattern, x)
    return multiply(values, pattern.by_rows(), x)


def input_gradient(values: Tensor, g: Tensor, pattern: Pattern) -> Tensor:
    """Return ``g @ A(values)``."""
    check_values(values, pattern.nnz)
    if pattern.blocks is not None and _takes_blocks(values, g):
        from snnkit.sparse.kernels import block_launching

        return block_launching.multiply_transposed(values, pattern, g)
    return multiply(values, pattern.by_columns(), g)


def value_gradient(g: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    """Return ``g.T @ x`` at the weights."""
    if pattern.blocks is not None and with_kernels(x) and x.shape[0]:
        from snnkit.sparse.kernels import block_launching

        return block_launching.sample(pattern, g, x)
    return sample(pattern.by_rows(), g, x)


def both_gradients(values: Tensor, pattern: Pattern, g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of inputs and values."""
    if pattern.blocks is not None:
        return input_gradient(values, g, pattern), value_gradient(g, x, pattern)
    rows, columns = pattern.by_rows(), pattern.by_columns()
    if with_kernels(x) and x.shape[0] and values.shape[0]:
        from snnkit.sparse.kernels import launching

        return launching.gradients(values, rows, columns, g, x)
    return multiply(values, columns, g), sample(rows, g, x)


def _bilinear(cls: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """Give a product of two tensors what follows from its being linear in each: tangents, and ``vmap``."""

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        one, other, ctx.pattern = inputs
        ctx.save_for_backward(one, other)
        ctx.save_for_forward(one, other)

    def jvp(ctx: Any, d_one: Tensor | None, d_other: Tensor | None, _: None) -> Tensor:
        one, other = ctx.saved_tensors
        parts = [] if d_one is None else [cls.apply(d_one, other, ctx.pattern)]
        parts += [] if d_other is None else [cls.apply(one, d_other, ctx.pattern)]
        return sum(parts[1:], parts[0])

    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        pairs = list(zip(args, in_dims, strict=True))
        slices = (
            [arg if dim is None else arg.select(dim, i) for arg, dim in pairs] for i in range(info.batch_size)
        )
        return torch.stack([cls.apply(*arguments) for arguments in slices]), 0

    methods: dict[str, Any] = {"setup_context": setup_context, "jvp": jvp, "vmap": vmap}
    for name, method in methods.items():
        setattr(cls, name, staticmethod(method))
    return cls


@_bilinear
class Product(torch.autograd.Function):
    """``apply(values, x, pattern)`` returns ``x @ A(values).T`` for ``x`` ``(batch, in_features)``."""

    @staticmethod
    def forward(values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        """Multiply."""
        return forward_product(values, x, pattern)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Multiply by the transposed matrix, and sample at the weights."""
        check_structure(ctx.pattern)
        values, x = ctx.saved_tensors
        return gradients_of(ctx, values, x, g)


@_bilinear
class InputGradient(torch.autograd.Function):
    """``apply(values, g, pattern)`` returns ``g @ A(values)`` for ``g`` ``(batch, out_features)``."""

    @staticmethod
    def forward(values: Tensor, g: Tensor, pattern: Pattern) -> Tensor:
        """Multiply by the transposed matrix."""
        return input_gradient(values, g, pattern)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of the form in which ``h`` stands for the inputs."""
        check_structure(ctx.pattern)
        values, g = ctx.saved_tensors
        need_values, need_g, _ = ctx.needs_input_grad
        d_values = ValueGradient.apply(g, h, ctx.pattern) if need_values else None
        return d_values, Product.apply(values, h, ctx.pattern) if need_g else None, None


@_bilinear
class ValueGradient(torch.autograd.Function):
    """``apply(g, x, pattern)`` returns ``g.T @ x`` at the weights, in the order of the values."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        """Sample at the weights."""
        return value_gradient(g, x, pattern)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of the form in which ``w`` stands for the values."""
        check_structure(ctx.pattern)
        g, x = ctx.saved_tensors
        need_g, need_x, _ = ctx.needs_input_grad
        d_g = Product.apply(w, x, ctx.pattern) if need_g else None
        return d_g, InputGradient.apply(w, g, ctx.pattern) if need_x else None, None


def check_structure(pattern: Pattern) -> None:
    """Raise :class:`SparsityError` if the layer has another structure by now: its values are others then."""
    if not pattern.generation.is_current:
        raise SparsityError(
            "The structure of a sparse layer was changed between a forward pass and its backward pass: call "
            "backward() first, and change it afterwards."
        )


def gradients_of(ctx: Any, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    """Return the gradients of a product as functions that can be differentiated."""
    need_values, need_x, _ = ctx.needs_input_grad
    d_values = ValueGradient.apply(g, x, ctx.pattern) if need_values else None
    return d_values, InputGradient.apply(values, g, ctx.pattern) if need_x else None, None


class _PlainProduct(torch.autograd.Function):
    """The same outside ``torch.func`` and forward-mode gradients, whose binding of arguments takes long."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        """Multiply."""
        ctx.pattern = pattern
        ctx.save_for_backward(values, x)
        return forward_product(values, x, pattern)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Multiply by the transposed matrix, and sample at the weights."""
        check_structure(ctx.pattern)
        values, x = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradients_of(ctx, values, x, g)
        need_values, need_x, _ = ctx.needs_input_grad
        if need_values and need_x:
            d_x, d_values = both_gradients(values, ctx.pattern, g, x)
            return d_values, d_x, None
        if need_values:
            return value_gradient(g, x, ctx.pattern), None, None
        return None, input_gradient(values, g, ctx.pattern), None


def needs_general_node() -> bool:
    """Whether ``torch.func`` or forward-mode differentiation is at work."""
    return transformation() is not None or forward_ad._current_level >= 0


def product(values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
    """Return ``x @ A(values).T`` for ``x`` ``(batch, in_features)``, to be differentiated in any way."""
    if needs_general_node():
        return Product.apply(values, x, pattern)
    if torch.is_grad_enabled() and (values.requires_grad or x.requires_grad):
        return _PlainProduct.apply(values, x, pattern)
    return forward_product(values, x, pattern)
