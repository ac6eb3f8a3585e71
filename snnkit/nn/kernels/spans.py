"""How the kernels of LIF neurons divide their work; apart from them, as importing those imports Numba."""

__all__ = ["SPAN", "WIDTH"]

SPAN = 16
"""Steps from one mark to the next."""

WIDTH = 128
"""Most neurons of a part, where there is no recurrence."""
