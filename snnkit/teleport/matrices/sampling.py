"""Random matrices of the groups that sites have."""

import torch
from torch import Tensor

from snnkit.utilities.errors import ConfigurationError

__all__ = ["haar", "invertible", "rotation_about_ones"]


def haar(size: int, generator: torch.Generator | None = None) -> Tensor:
    """Return an orthogonal matrix, uniform over all of them; float64 ``(size, size)``.

    The QR factors of a matrix of independent normal numbers, with the signs that make the triangular one's
    diagonal positive (Mezzadri 2007, How to generate random matrices from the classical compact groups).
    """
    normal = torch.randn(size, size, dtype=torch.float64, generator=generator)
    orthogonal, triangular = torch.linalg.qr(normal)
    return orthogonal * torch.where(triangular.diagonal() < 0, -1.0, 1.0)


def invertible(size: int, condition: float = 4.0, generator: torch.Generator | None = None) -> Tensor:
    """Return an invertible matrix with a condition number of at most ``condition``; float64.

    Two uniform orthogonal matrices with singular values between, whose logarithms are uniform between
    ``-log(condition) / 2`` and ``log(condition) / 2``.

    Raises:
        ConfigurationError: ``condition`` is below 1.
    """
    if not condition >= 1:
        raise ConfigurationError(f"condition is {condition}; the condition number of a matrix is at least 1.")
    exponents = torch.rand(size, dtype=torch.float64, generator=generator) - 0.5
    values = torch.tensor(condition, dtype=torch.float64) ** exponents
    return haar(size, generator) * values @ haar(size, generator)


def rotation_about_ones(size: int, generator: torch.Generator | None = None) -> Tensor:
    """Return an orthogonal matrix that leaves the vector of ones as it is, uniform over all; float64."""
    inner = torch.eye(size, dtype=torch.float64)
    inner[1:, 1:] = haar(size - 1, generator)
    # The reflection that takes the first unit vector to the direction of ones.
    axis = torch.full((size,), size**-0.5, dtype=torch.float64)
    axis[0] -= 1
    length = axis @ axis
    reflection = torch.eye(size, dtype=torch.float64)
    if length > 0:
        reflection -= 2 * torch.outer(axis, axis) / length
    return reflection @ inner @ reflection
