"""The tests here draw weights and inputs; every test draws the same ones in every run."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
