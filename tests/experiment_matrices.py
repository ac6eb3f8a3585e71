"""Small matrix configurations and jobs for the tests."""

import copy

from snnkit.experiments.matrix import parse_matrix

TINY = {
    "runs_per_config": 2,
    "datasets": [{"name": "digits", "train": 64}],
    "models": [{"cls": "MLP", "kwargs": {"hidden": [8]}}],
    "optimizers": [{"cls": "SGD", "kwargs": {"lr": [0.1, 0.01], "momentum": 0.9}}],
    "training_params": {"epochs": 2, "batch_size": 32},
    "teleportations": {
        "no_teleport": True,
        "teleport": {
            "mode": "random",
            "teleport_only_once": True,
            "every_n_epochs": 0,
            "cob_sampling": "inter_landscape",
            "cob_range": 0.9,
        },
    },
}

TOML = """
runs_per_config = 2
datasets = [{ name = "digits", train = 64 }]
models = [{ cls = "MLP", kwargs = { hidden = [8] } }]

[[optimizers]]
cls = "SGD"
kwargs = { lr = [0.1, 0.01], momentum = 0.9 }

[training_params]
epochs = 2
batch_size = 32

[teleportations]
no_teleport = true

[teleportations.teleport]
mode = "random"
teleport_only_once = true
every_n_epochs = 0
cob_sampling = "inter_landscape"
cob_range = 0.9
"""

YAML = """
runs_per_config: 2
datasets:
  - {name: digits, train: 64}
models:
  - cls: MLP
    kwargs: {hidden: [8]}
optimizers:
  - cls: SGD
    kwargs: {lr: [0.1, 0.01], momentum: 0.9}
training_params: {epochs: 2, batch_size: 32}
teleportations:
  no_teleport: true
  teleport:
    mode: {random: {}}
    teleport_only_once: true
    every_n_epochs: 0
    cob_sampling: inter_landscape
    cob_range: 0.9
"""


def tiny(**changes):
    """Return the tiny matrix with some of its sections replaced."""
    return parse_matrix({**copy.deepcopy(TINY), **changes}, "tiny")


def tiny_job(**changes):
    """Return its first job."""
    return tiny(**changes).jobs()[0]
