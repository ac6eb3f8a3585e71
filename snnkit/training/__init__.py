"""Losses, metrics, the trainer, checkpoints."""
