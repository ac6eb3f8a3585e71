"""Small programs for every chip that has a board."""

import numpy as np

from snnkit.hw.xylo import Specification
from snnkit.utilities.chips import get_chip

CHIPS = ("a2", "a3", "imu")
N_IN = 3


def program(chip: str, seed: int = 0) -> Specification:
    """Recurrent, with biases, an alias and all synapses that the chip has; lively and not saturated."""
    rng = np.random.default_rng(seed)
    synapses = get_chip(chip).hidden_synapses
    return Specification.create(
        chip=chip,
        weights_in=rng.integers(-60, 127, (N_IN, 10, synapses)),
        weights_rec=rng.integers(-40, 40, (12, 12, synapses)),
        weights_out=rng.integers(-60, 127, (8, 2)),
        weight_shift_in=1,
        threshold=rng.integers(300, 500, 12),
        threshold_out=250,
        dash_mem=rng.integers(2, 5, 12),
        dash_syn=2,
        dash_syn_2=3,
        dash_mem_out=3,
        bias=rng.integers(-5, 20, 12),
        bias_out=[3, -2],
        aliases=[[3], *[[]] * 11],
    )


def rasters(samples: int = 3, steps: int = 20, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (samples, steps, N_IN))
