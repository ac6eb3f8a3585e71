"""A model around any function, for the tests of capture."""

import types

import torch
from torch import nn


class Model(nn.Module):
    """One convolution, and behind it whatever a test wants."""

    def __init__(self, function):
        super().__init__()
        self.function = types.MethodType(function, self) if callable(function) else function
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.linear = nn.Linear(4, 6)
        self.gain = nn.Parameter(torch.rand(4, 1, 1))
        self.register_buffer("offset", torch.rand(4, 1, 1))
        self.constant = torch.full((4, 1, 1), 2.0)

    def forward(self, x):
        return self.function(self.conv(x))
