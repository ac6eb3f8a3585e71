"""Experiments on sparse networks: accuracy by sparsity, prune-and-retrain loops, memory and time."""
