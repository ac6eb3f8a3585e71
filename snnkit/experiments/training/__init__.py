"""Experiments that train nets: convergence with teleportation, its controls, and the plots of the results."""
