"""Deployment over the orbit of a network: all scalings of its neurons that leave its events as they are."""
