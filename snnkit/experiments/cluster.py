"""A dask cluster as an executor."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from snnkit.utilities.errors import ConfigurationError, MissingDependencyError

__all__ = ["connected"]

_SECONDS = 10


@contextmanager
def connected(address: str) -> Iterator[Executor]:
    """Connect to the dask scheduler at ``address`` ("tcp://HOST:8786") and yield it as an executor.

    Raises:
        MissingDependencyError: ``distributed`` is not installed.
        ConfigurationError: nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            f'A cluster needs dask: pip install "snnkit[cluster]" ({error}). --jobs N needs nothing.'
        ) from error
    try:
        client = Client(address, timeout=_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"No dask scheduler answers at {address} ({error}). Start one with: dask scheduler"
        ) from error
    with client:
        # The jobs are pure functions, but two of a name may be asked for by two runs at once.
        yield client.get_executor(pure=False)
