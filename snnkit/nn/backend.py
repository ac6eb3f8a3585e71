"""The one switch that says what runs the loops of spiking neurons.

=============  ==============================================================================================
``auto``       Compiled kernels where they cover the call (:mod:`snnkit.nn.kernels.coverage`), Triton's for
               tensors on a CUDA device, Numba's for the others; else ``torch``. The default.
``numba``      Compiled kernels for the CPU; :class:`BackendError` says why where they do not cover a call.
``triton``     The same for CUDA devices.
``torch``      Torch's operations: for training one autograd node per sequence of LIF neurons with one of our
               surrogates and no adaptation, else the plain loop.
``reference``  The plain loop of torch operations, always. It defines what the others compute.
=============  ==============================================================================================

Kernels cover LIFTorch, LIFBitshiftTorch, aLIFTorch and LIFNeuronTorch with StepPWL or PeriodicExponential,
and ExpSynTorch, in float32 and float64. They do not cover surrogates of the user's own, other types and
devices, ``torch.func`` transforms and ``torch.compile``; on CUDA devices recurrent populations of more than
4096 channels. Gradients of gradients are computed on torch's operations from the same inputs. Triton is in
the ``cuda`` extra, and comes with torch's builds for CUDA. With ``TRITON_INTERPRET=1`` in the environment its
kernels also take tensors on the CPU, slowly, for tests.

``SNNKIT_BACKEND`` in the environment sets the backend with which a process starts.
"""

import functools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module

from torch import Tensor

from snnkit.utilities.errors import ConfigurationError, SnnkitError, unknown_key_message

__all__ = [
    "BACKENDS",
    "BackendError",
    "get_backend",
    "kernels_wanted",
    "kind_of_kernels",
    "set_backend",
    "use_backend",
]

BACKENDS = ("auto", "numba", "triton", "torch", "reference")

ENVIRONMENT = "SNNKIT_BACKEND"


class BackendError(SnnkitError, RuntimeError):
    """The backend that was asked for does not cover a call."""


def _checked(name: str, where: str) -> str:
    if name not in BACKENDS:
        raise ConfigurationError(f"{where}: {unknown_key_message('backend', str(name), BACKENDS)}")
    return name


_process: str | None = None
_local: ContextVar[str | None] = ContextVar("snnkit_backend", default=None)


def get_backend() -> str:
    """Return the backend in force.

    Raises:
        ConfigurationError: the environment names one that does not exist.
    """
    return _local.get() or _process or _checked(os.environ.get(ENVIRONMENT) or "auto", ENVIRONMENT)


def set_backend(name: str) -> None:
    """Choose the backend for the whole process.

    Raises:
        ConfigurationError: there is no backend called ``name``.
    """
    global _process  # noqa: PLW0603 - the switch of the process
    _process = _checked(name, "set_backend")


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Choose the backend for the calls of a ``with`` block, in this thread.

    A backward pass follows its forward pass, wherever it is run.

    Raises:
        ConfigurationError: there is no backend called ``name``.
    """
    token = _local.set(_checked(name, "use_backend"))
    try:
        yield
    finally:
        _local.reset(token)


def kernels_wanted(reason: str | None, kind: str = "numba") -> bool:
    """Decide a call that kernels of a kind, numba or triton, cover, or do not for ``reason``.

    Raises:
        BackendError: they do not, but that kind was asked for.
    """
    backend = get_backend()
    if backend == kind and reason:
        raise BackendError(
            f"The backend '{kind}' does not cover this call: {reason}. Choose 'auto', which takes torch's "
            "operations for such calls: snnkit.nn.backend.set_backend('auto')."
        )
    if backend not in ("auto", kind) or reason:
        return False
    return backend == kind or _works(kind)


def kind_of_kernels(tensor: Tensor) -> str:
    """Return which kernels would take a tensor: triton for CUDA devices, or where asked for; else numba."""
    return "triton" if tensor.is_cuda or get_backend() == "triton" else "numba"


@functools.cache
def _works(kind: str) -> bool:
    try:
        import_module(kind)
    except ImportError as error:
        extra = "numba" if kind == "numba" else "'snnkit[cuda]'"
        warnings.warn(
            f"{kind.title()} cannot be imported ({error}); spiking neurons run on torch's operations, some "
            f"ten times slower. Install {extra}, or set {ENVIRONMENT}=torch.",
            RuntimeWarning,
            stacklevel=4,
        )
        return False
    return True
