"""Experiments on teleportation and sparsity: one command each, checked against theory where there is one."""
