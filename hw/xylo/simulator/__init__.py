"""The bit-exact simulator: a plain reference and fast kernels that are held to it."""
