import pytest
import torch
from torch import nn

from snnkit.experiments.experiment import Context
from snnkit.experiments.models import build_model
from snnkit.experiments.registry import experiment_names, get_experiment
from snnkit.experiments.sparsity import baselines, memory, retraining
from snnkit.experiments.sparsity.networks import Training
from snnkit.experiments.sparsity.weight_files import load_weights, read_weights
from snnkit.utilities.errors import ConfigurationError, FileFormatError
from snnkit.utilities.files import write_arrays

pytest.importorskip("sklearn")

ONCE = Training(epochs=2, batch_size=256)


def run(module, settings, folder, draws=True):
    findings = module.EXPERIMENT.run(settings, Context(seed=0, folder=folder))
    if draws:
        pytest.importorskip("matplotlib")
        from snnkit.report.style import drawing

        with drawing():
            assert module.EXPERIMENT.draw(findings)
    return findings


def test_baselines_report_every_way_at_exact_sparsities(tmp_path):
    settings = baselines.Settings(networks=("MLP",), sparsities=(0.9,), repeats=2, training=ONCE)
    findings = run(baselines, settings, tmp_path)
    assert findings.passed
    (table,) = findings.tables
    assert [row[0] for row in table.rows] == ["dense", "dense, longer", *baselines.WAYS]
    assert len(findings.data["results"]) == 2 * (2 + len(baselines.WAYS))


def test_findings_follow_from_the_seed(tmp_path):
    settings = baselines.Settings(networks=("MLP",), sparsities=(0.8,), repeats=1, training=ONCE)
    one, two = (run(baselines, settings, tmp_path / name, draws=False) for name in "ab")
    assert one.to_json() == two.to_json()


def test_loops_end_at_the_same_sparsity_and_sparse_ones_are_smaller(tmp_path):
    settings = retraining.Settings(
        networks=("MLP",), hidden=(64,), sparsity=0.9, prune_epochs=2, repeats=1, training=ONCE
    )
    findings = run(retraining, settings, tmp_path)
    assert findings.passed
    results = {r["way"]: r for r in findings.data["results"]}
    assert list(results) == list(retraining.WAYS)
    for result in results.values():
        assert abs(1 - result["kept"] / result["size"] - 0.9) < 0.005
    assert results["snnkit, gradual, sparse"]["bytes"] < 0.4 * results["snnkit, gradual"]["bytes"]
    assert results["torch, one shot"]["accuracy"] == results["snnkit, one shot"]["accuracy"]


def test_memory_is_counted_to_the_byte_and_nothing_changes_what_is_computed(tmp_path):
    settings = memory.Settings(model="MLP", hidden=(40, 30), densities=(1.0, 0.3, 0.05), repeats=1)
    findings = run(memory, settings, tmp_path)
    assert findings.passed
    dense = {r["bytes"] for r in findings.data["results"] if r["format"] == "dense"}
    assert dense == {4 * (64 * 40 + 40 * 30 + 30 * 10 + 80)}


def test_the_experiments_have_commands():
    assert {"sparse-baselines", "sparse-retraining", "sparse-memory"} <= set(experiment_names())
    for name in ("sparse-baselines", "sparse-retraining", "sparse-memory"):
        assert get_experiment(name).name == name


def vgg(generator=None):
    return build_model(
        "VGG11_bn", (3, 32, 32), 10, {"width": 4, "hidden": (16, 16)}, generator=generator
    ).eval()


class TorchvisionVGG(nn.Module):
    """The layout of torchvision's VGG11 with batch norms, narrow."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for size in (4, "M", 8, "M", 16, 16, "M", 32, 32, "M", 32, 32, "M"):
            if size == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [
                    nn.Conv2d(channels, size, 3, padding=1),
                    nn.BatchNorm2d(size),
                    nn.ReLU(inplace=True),
                ]
                channels = size
        self.features = nn.Sequential(*layers)
        hidden = [nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(*hidden, nn.Linear(16, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_weights_of_a_torchvision_vgg_give_the_same_network(tmp_path, kind):
    torch.manual_seed(0)
    theirs = TorchvisionVGG()
    for _ in range(2):
        theirs(torch.randn(8, 3, 32, 32))
    theirs.eval()
    path = tmp_path / f"vgg.{kind}"
    if kind == "pth":
        torch.save(theirs.state_dict(), path)
    else:
        write_arrays(path, {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}, {})
    ours = vgg()
    load_weights(ours, path)
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_weights_by_the_models_own_names_are_loaded(tmp_path):
    one, two = (vgg(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    path = tmp_path / "own.pt"
    torch.save({"state_dict": one.state_dict()}, path)
    load_weights(two, path)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(one(x), two(x))


def test_files_that_do_not_fit_are_refused_and_change_nothing(tmp_path):
    model = vgg(torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wide = build_model("VGG11_bn", (3, 32, 32), 7, {"width": 4, "hidden": (16, 16)})
    torch.save(wide.state_dict(), tmp_path / "wide.pt")
    torch.save({"a": torch.nn.Linear(2, 2)}, tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(nn.Sequential(nn.Linear(2, 2)).state_dict(), tmp_path / "other.pt")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "short.pt")
    messages = {
        "wide.pt": r"head\.weight is \(7, 16\) in the file, \(10, 16\)",
        "code.pt": "not a file of tensors alone",
        "list.pt": "holds no state dict",
        "other.pt": r"stages\.0\.convs\.0\.weight is missing",
        "short.pt": "holds 1 layers",
        "absent.pt": "does not exist",
    }
    for name, message in messages.items():
        with pytest.raises(FileFormatError, match=message):
            load_weights(model, tmp_path / name)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(FileFormatError, match="does not exist"):
        read_weights(tmp_path / "absent.safetensors")


def test_settings_that_contradict_themselves_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="one network"):
        run(baselines, baselines.Settings(weights="vgg.pt"), tmp_path)
    with pytest.raises(ConfigurationError, match="there are 2 epochs"):
        run(retraining, retraining.Settings(prune_epochs=3, training=ONCE), tmp_path)


def test_a_single_sparsity_is_drawn_without_complaint(tmp_path, recwarn):
    settings = baselines.Settings(networks=("MLP",), sparsities=(0.9,), repeats=1, training=ONCE)
    run(baselines, settings, tmp_path)
    assert not [warning for warning in recwarn if "xlims" in str(warning.message)]
