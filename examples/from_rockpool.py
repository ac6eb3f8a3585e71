"""A script written for Rockpool, moved over: only the import lines differ.

    rockpool.                ->  snnkit.
    rockpool.transform       ->  snnkit.transforms
    rockpool.devices.xylo    ->  snnkit.hw.xylo

The Rockpool lines stand as comments above ours. Run it with ``python examples/from_rockpool.py``.
"""

import numpy as np
import torch

# from rockpool.devices.xylo.syns61201 import XyloSim, config_from_specification, cycles_model, mapper
from snnkit.hw.xylo.syns61201 import XyloSim, config_from_specification, cycles_model, mapper

# from rockpool.nn.combinators import Residual, Sequential
from snnkit.nn.combinators import Residual, Sequential

# from rockpool.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.modules import LIFTorch, LinearTorch

# from rockpool.transform.quantize_methods import channel_quantize
from snnkit.transforms.quantize_methods import channel_quantize

DT = 1e-3


def main() -> None:
    """Build, evolve, map, quantise, configure and simulate, as a Rockpool tutorial does."""
    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((2, 8)),
        LIFTorch(8, tau_mem=16e-3, tau_syn=8e-3, max_spikes_per_dt=31, dt=DT),
        Residual(LinearTorch((8, 8)), LIFTorch(8, tau_mem=16e-3, tau_syn=8e-3, max_spikes_per_dt=31, dt=DT)),
        LinearTorch((8, 3)),
        LIFTorch(3, tau_mem=16e-3, tau_syn=8e-3, max_spikes_per_dt=1, dt=DT),
    )
    print(net)

    generator = np.random.default_rng(1)
    raster = generator.poisson(0.2, (200, 2))
    output, _, record = net(torch.tensor(raster).float(), record=True)
    print(f"torch: {int(output.sum())} output events, recorded {sorted(record)}")

    spec = mapper(net.as_graph(), weight_dtype="float", threshold_dtype="float", dash_dtype="float")
    spec.update(channel_quantize(**spec))
    config, is_valid, message = config_from_specification(**spec)
    if not is_valid:
        raise SystemExit(message)

    simulator = XyloSim.from_config(config, dt=DT)
    events, _, record = simulator(raster, record=True)
    print(f"chip:  {int(events.sum())} output events, recorded {sorted(record)}")

    cycles, _ = cycles_model(config, input_sp=0.2, hidden_sp=0.1)
    print(f"about {cycles:.0f} clock cycles per time step")


if __name__ == "__main__":
    main()
