"""Write tests/simulator/data/golden.safetensors: run it when the reference changes, with xylosim installed.

    python tests/simulator/make_golden.py

Each net runs two rasters in a row. Expected values come from the plain reference and must equal xylosim's.
"""

import json
import sys
from pathlib import Path

import numpy as np

from snnkit.hw.xylo.simulator.reference import reference_run
from snnkit.hw.xylo.specification.core import ARRAYS, SHIFTS, Specification
from snnkit.utilities.files import write_arrays

sys.path.insert(0, str(Path(__file__).parents[1]))
from simulator.random_nets import random_raster, random_specification
from simulator.xylosim_oracle import XylosimOracle

GOLDEN = Path(__file__).parent / "data" / "golden.safetensors"
NETS = 40
SEED = 20_000


def golden_net(seed: int) -> tuple[Specification, list[np.ndarray], list[dict[str, np.ndarray]]]:
    rng = np.random.default_rng(seed)
    spec = random_specification(rng, version=1 + seed % 2)
    rasters = [random_raster(rng, 12, spec.n_in) for _ in range(2)]
    oracle, state, expected = XylosimOracle(spec), None, []
    for raster in rasters:
        record, state, _ = reference_run(spec, raster, state)
        for name, values in oracle.run(raster).items():
            np.testing.assert_array_equal(record[name], values, f"net {seed}: {name}")
        expected.append(record)
    return spec, rasters, expected


def main() -> None:
    arrays, header = {}, []
    for net in range(NETS):
        spec, rasters, expected = golden_net(SEED + net)
        arrays |= {f"{net}.{name}": getattr(spec, name) for name in ARRAYS}
        for call, (raster, record) in enumerate(zip(rasters, expected, strict=True)):
            arrays[f"{net}.{call}.raster"] = raster.astype(np.uint8)
            arrays |= {f"{net}.{call}.{name}": values for name, values in record.items()}
        header.append(
            {"chip": spec.chip, "dt": spec.dt, "aliases": spec.aliases}
            | {name: getattr(spec, name) for name in SHIFTS}
        )
    write_arrays(GOLDEN, arrays, {"nets": json.dumps(header)})
    print(f"{GOLDEN}: {NETS} nets, {GOLDEN.stat().st_size / 1000:.0f} kB, equal to xylosim")


if __name__ == "__main__":
    main()
