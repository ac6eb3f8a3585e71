"""The vendor's driver, imitated: the same names and order of calls, computed by the bit-exact simulator.

It speaks to the same backend as a real board, so that everything between a program and a chip is tested
without one; :class:`Faults` make it fail on demand. It imitates the documented interface, not the driver:
what only a board can show is listed in the hardware guide.
"""

from .alterations import Alteration, Mismatch
from .driver import FakeSamna
from .faults import Faults

__all__ = ["Alteration", "FakeSamna", "Faults", "Mismatch"]
