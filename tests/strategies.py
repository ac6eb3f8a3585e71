"""Hypothesis strategies that more than one test file draws from."""
