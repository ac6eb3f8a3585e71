"""Make up for a chip's own deviations by training with the chip in the loop.

No two chips are alike. Here an imitated Xylo-IMU runs a program with weights and thresholds that deviate
from what was written, as the simulator cannot know. A network that was trained for the simulator loses
accuracy on it; trained on with the device's answers in the forward pass, it wins most of that back.

The recordings are nine speakers saying /ae/ (JapaneseVowels). Run it with
``python examples/train_in_the_loop.py``; it takes about half a minute. With a board, leave out the driver in
``connect("samna:")``, and the mismatch is the board's own.
"""

import numpy as np
import torch

from snnkit.hw import connect
from snnkit.hw.fake_samna import FakeSamna, Mismatch
from snnkit.hw.sessions import InTheLoop, Session
from snnkit.hw.xylo.exact.module import ChipExact
from snnkit.hw.xylo.finetuning import finetune
from snnkit.nn.hop_delays import count_hops
from snnkit.recipes.network import build_network, set_working_point
from snnkit.recipes.prepare import Prepared, prepare
from snnkit.recipes.stages import load_recipe
from snnkit.training import Augmentation, FitSettings, Trainer
from snnkit.training.metrics import accuracy

RECIPE = {"chip": "imu", "network.hidden": [48], "network.outputs_per_class": 1}
MISMATCH = Mismatch(weights=0.3, thresholds=0.3, seed=1)


def train_float(prepared: Prepared) -> torch.nn.Module:
    """Train the recipe's network in float, for less long than the recipe would."""
    recipe = prepared.recipe
    net = build_network(
        recipe.network, prepared.encoder.channels, prepared.readout, prepared.chip, dropout=0.2, seed=0
    )
    set_working_point(net, prepared.calibration_events())
    Trainer(
        net,
        prepared.train_levels,
        prepared.train_labels,
        readout=prepared.readout,
        settings=FitSettings(epochs=60),
        augmentation=prepared.augmentation,
        stage="float",
        seed=0,
    ).fit()
    return net


def on_device(session: Session, network: ChipExact, prepared: Prepared, lag: int) -> float:
    """Return the accuracy of a network's program on every third test recording."""
    session.configure(network.specification)
    output, _, _ = session.run(np.pad(prepared.test_events[::3], ((0, 0), (0, lag), (0, 0))))
    return accuracy(prepared.readout.predict(output[:, lag:]), prepared.test_labels[::3])


def main() -> None:
    """Train for the simulator, lose accuracy on the device, win it back in the loop."""
    prepared = prepare(load_recipe("japanese-vowels", RECIPE))
    net = train_float(prepared)
    lag = count_hops(net)
    events = prepared.augmentation.events(prepared.train_levels)
    exact = finetune(
        net, "imu", events, prepared.train_labels, settings=FitSettings(epochs=20, learning_rate=0.01)
    )

    device = FakeSamna(["imu"], alter=MISMATCH)
    with connect("sim:imu") as simulator, connect("samna:", driver=device) as session:
        print(f"simulator                         {on_device(simulator, exact, prepared, lag):.1%}")
        print(f"device, trained for the simulator {on_device(session, exact, prepared, lag):.1%}")
        loop = InTheLoop(exact, session)
        Trainer(
            loop,
            events,
            prepared.train_labels,
            readout=prepared.readout,
            settings=FitSettings(epochs=3, batch_size=32, learning_rate=0.01, warmup=0.0, averaging=0.3),
            augmentation=Augmentation(0.0, 0.0, 0.0, cap=prepared.chip.input_event_cap),
            stage="in the loop",
            seed=0,
            lag=lag,
        ).fit(on_epoch=lambda epoch: print(f"  epoch {epoch.epoch}: {epoch.train_accuracy:.1%} in training"))
        print(f"device, trained in the loop       {on_device(session, exact, prepared, lag):.1%}")


if __name__ == "__main__":
    main()
