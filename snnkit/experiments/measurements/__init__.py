"""Measurements of what teleportation does to networks: angles, flatness, gradients, weights."""
