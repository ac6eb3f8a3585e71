"""Triton's interpreter stands in for a CUDA device; it must be chosen before Triton is imported."""

import os
import sys

import torch

if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ.setdefault("TRITON_INTERPRET", "1")
