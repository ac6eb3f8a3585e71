"""The integer program of a chip: arrays, checks, files."""
