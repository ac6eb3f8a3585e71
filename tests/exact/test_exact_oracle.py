"""Chip-exact networks against the vendor's compiled core."""

import numpy as np
import pytest
from exact.exact_nets import random_case, recorded_by
from simulator.xylosim_oracle import XylosimOracle

pytest.importorskip("xylosim", reason="the oracle xylosim is not installed (extra `oracles`)")
pytestmark = pytest.mark.oracle


def test_forward_equals_the_vendors_core(record_property):
    arrays = 0
    for seed in range(1000, 1120):
        case = random_case(seed)
        exact = case.exact()
        oracles = [XylosimOracle(exact.specification) for _ in range(len(case.first))]
        for data in (case.first, case.second):
            mine = recorded_by(exact, data)
            for sample, oracle in enumerate(oracles):
                expected = oracle.run(data[sample].numpy().astype(int))
                for name, values in mine.items():
                    np.testing.assert_array_equal(values[sample], expected[name], f"seed {seed}: {name}")
                    arrays += 1
    record_property("arrays", arrays)
    assert arrays > 120 * 2 * 5
