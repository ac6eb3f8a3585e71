"""Deploy a trained network to a Xylo-IMU, save the program, and check what it computes.

Run it with ``python examples/deploy_and_validate.py``; it takes a few seconds.
"""

import tempfile
from pathlib import Path

import torch
from train_for_xylo import build, sweeps, train

from snnkit.hw.xylo import Specification, XyloSim, deploy


def main() -> None:
    """Train, deploy with calibration, save and load the program, compare its classes with the network's."""
    generator = torch.Generator().manual_seed(0)
    net = build(seed=1)
    rasters, labels = sweeps(128, generator)
    train(net, rasters, labels)

    # Calibration data tell how far the states reach, so that nothing saturates in 16 bits.
    deployment = deploy(net, "imu", calibration=rasters.int(), labels=labels)
    print(deployment.report)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweeps.json"
        deployment.specification.save(path)
        program = Specification.load(path)
    assert program == deployment.specification

    test_rasters, test_labels = sweeps(256, generator)
    events = deployment.run(test_rasters.int())
    net.reset_state()
    with torch.no_grad():
        output, _, _ = net(test_rasters)
    on_chip, in_torch = events.sum(1).argmax(1), output.sum(1).argmax(1)
    print(f"\naccuracy in torch  {(in_torch == test_labels).float().mean():.1%}")
    print(f"accuracy on chip   {(on_chip == test_labels).float().mean():.1%}")
    print(f"same class         {(on_chip == in_torch).float().mean():.1%}")

    # The simulator records every state of the chip, for one raster or a whole batch.
    simulator = XyloSim.from_specification(program)
    _, _, record = simulator(test_rasters[0].int(), record=True)
    print({name: tuple(values.shape) for name, values in record.items()})
    print(simulator.counters)


if __name__ == "__main__":
    main()
