"""Matrix configurations: what they stand for, how jobs are named, and how faults are told."""

import dataclasses

import pytest
from experiment_matrices import TINY, TOML, YAML, tiny, tiny_job

from snnkit.experiments.matrix import Job, Store, parse_matrix, read_matrix
from snnkit.experiments.registry import experiment_names, get_experiment
from snnkit.experiments.training.experiment import TrainingSettings, read_configuration
from snnkit.experiments.training.grouping import Labels
from snnkit.recipes.schema import RecipeError
from snnkit.utilities.errors import ConfigurationError, FileFormatError


def test_a_matrix_stands_for_all_its_combinations():
    jobs = tiny().jobs(seed=5)
    assert len(jobs) == 2 * 2 * 2  # Runs, learning rates, with and without teleport.
    assert len({job.name for job in jobs}) == len(jobs)
    assert {(job.run, job.optimizer.kwargs["lr"], job.teleport is None) for job in jobs} == {
        (run, lr, without) for run in (0, 1) for lr in (0.1, 0.01) for without in (True, False)
    }
    assert {job.seed for job in jobs} == {5}


def test_yaml_toml_and_tables_stand_for_the_same_jobs(tmp_path):
    (tmp_path / "m.toml").write_text(TOML)
    (tmp_path / "m.yml").write_text(YAML)
    names = [job.name for job in tiny().jobs()]
    assert [job.name for job in read_matrix(tmp_path / "m.toml").jobs()] == names
    assert [job.name for job in read_matrix(tmp_path / "m.yml").jobs()] == names


def test_lists_are_axes_but_where_the_value_is_a_list():
    matrix = tiny(
        models=[{"cls": "MLP", "kwargs": {"hidden": [[8], [4, 4]], "activation": ["relu", "tanh"]}}],
        optimizers=[
            {"cls": ["Adam", "AdamW"], "kwargs": {"lr": 0.1, "betas": [0.8, 0.99]}},
            {
                "cls": "SGD",
                "kwargs": {"lr": 0.1},
                "lr_scheduler": [
                    {"cls": "StepLR", "kwargs": {"step_size": [1, 2]}},
                    {"cls": "MultiStepLR", "kwargs": {"milestones": [1, 2]}},
                ],
            },
        ],
        initializers=["none", {"type": ["xavier", "normal"], "gain": [0.02, 1.0]}],
        training_params={"epochs": [1, 2]},
    )
    assert [dict(model.kwargs) for model in matrix.models] == [
        {"hidden": [8], "activation": "relu"},
        {"hidden": [8], "activation": "tanh"},
        {"hidden": [4, 4], "activation": "relu"},
        {"hidden": [4, 4], "activation": "tanh"},
    ]
    assert [(o.cls, o.lr_scheduler and dict(o.lr_scheduler.kwargs)) for o in matrix.optimizers] == [
        ("Adam", None),
        ("AdamW", None),
        ("SGD", {"step_size": 1}),
        ("SGD", {"step_size": 2}),
        ("SGD", {"milestones": [1, 2]}),
    ]
    assert matrix.optimizers[0].kwargs["betas"] == [0.8, 0.99]
    assert len(matrix.initializers) == 5
    assert [params.epochs for params in matrix.training_params] == [1, 2]


def test_modes_may_have_fields_of_their_own():
    teleports = {"teleport": {"mode": {"random": None, "optim": {"metric": ["weighted_grad_norm"]}}}}
    found = tiny(teleportations=teleports).teleportations
    assert [(t.mode, t.metric) for t in found] == [
        ("random", "weighted_grad_norm"),
        ("optim", "weighted_grad_norm"),
    ]


def test_a_job_is_named_by_its_content_on_every_machine():
    job = tiny_job()
    assert job.name == "a6a2dc1008430ec5"  # Another name would run every finished job again.
    changes = {"run": 1, "seed": 1, "teleport": tiny().teleportations[1]}
    names = {dataclasses.replace(job, **{key: value}).name for key, value in changes.items()}
    assert len(names | {job.name}) == 4


def test_jobs_come_back_from_their_files(tmp_path):
    jobs = tiny(initializers=[{"type": "kaiming", "non_linearity": "tanh"}]).jobs()
    store = Store(tmp_path)
    files = store.write_jobs(jobs)
    from snnkit.utilities.files import read_json

    assert [Job.from_table(read_json(path), str(path)) for path in files] == list(jobs)
    assert [path.stem for path in files] == [job.name for job in jobs]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "snnkit-job-0"}, "format"),
        ({"run": "1"}, "run must be a whole number"),
        ({"optimizer": {"cls": "SGD", "kwargs": {"momentun": 1}}}, "momentum"),
        ({"training_params": {"epochs": [1, 2]}}, "stands for 2 values"),
    ],
)
def test_damaged_jobs_are_told(change, told):
    with pytest.raises(FileFormatError, match=told):
        Job.from_table({**tiny_job().to_table(), **change}, "file")


def test_all_faults_are_told_at_once_with_the_nearest_match():
    wrong = {
        "runs_per_conf": 1,
        "datasets": ["digit"],
        "models": [{"cls": "MLP", "kwargs": {"hiden": 3}}, "VG11"],
        "optimizers": [
            {"cls": "SGD", "kwargs": {"lr": "fast"}},
            {"cls": "SGD", "lr_scheduler": {"cls": "StepLR"}},
            {"class": "Adam"},
        ],
        "training_params": {"epochs": 0, "batch": 3},
        "teleportations": {"teleport": {"mode": "randm", "cob_rang": 0.5}},
    }
    with pytest.raises(RecipeError) as caught:
        parse_matrix(wrong, "wrong.toml")
    message = str(caught.value)
    for told in (
        "'runs_per_config'",
        "datasets[0]: Unknown data set 'digit'. Did you mean 'digits'?",
        "models[0]: Unknown argument of MLP 'hiden'. Did you mean 'hidden'?",
        "models[1]: Unknown model 'VG11'. Did you mean 'VGG11'?",
        "lr of SGD is 'fast'",
        "StepLR needs step_size",
        "'optimizers[2].cls'",
        "training_params.epochs is 0; it must be at least 1",
        "'training_params.batch_size'",
        "'random'",
        "'teleportations.teleport.cob_range'",
    ):
        assert told in message, told


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"optimizers": [{"cls": "SGD", "kwargs": {"lr": True}}]}, "lr of SGD is True"),
        (
            {
                "optimizers": [
                    {"cls": "SGD", "lr_scheduler": {"cls": "LambdaLR", "kwargs": {"lr_lambda": "x"}}}
                ]
            },
            "lr_scheduler 'LambdaLR'",
        ),
        ({"optimizers": [{"cls": "__class__"}]}, "optimizer '__class__'"),
        ({"models": []}, "models must not be empty"),
        ({"runs_per_config": 0}, "at least 1"),
        ({"teleportations": []}, "must be a table"),
        ({"teleportations": {"teleport": {"seed": 3}}}, "seed"),
        ({"teleportations": {"teleport": {"teleport_prob": 2.0}}}, "from 0 to 1"),
        ({"initializers": [{"type": "xavier", "gain": -1.0}]}, "more than 0"),
        ({"training_params": 3}, "must be a table"),
    ],
)
def test_values_out_of_place_are_told(section, told):
    with pytest.raises(RecipeError, match=told):
        tiny(**section)


def test_files_of_other_kinds_are_refused(tmp_path):
    for name, text in (("m.json", "{}"), ("m.toml", "= 3"), ("m.yaml", "a: [")):
        (tmp_path / name).write_text(text)
        with pytest.raises(FileFormatError):
            read_matrix(tmp_path / name)
    (tmp_path / "m.yml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(FileFormatError, match="not valid YAML"):
        read_matrix(tmp_path / "m.yml")
    (tmp_path / "n.yml").write_text("- 1")
    with pytest.raises(RecipeError, match="must be a table of runs_per_config"):
        read_matrix(tmp_path / "n.yml")


def test_aliases_that_multiply_or_hold_themselves_are_refused(tmp_path):
    levels = [f"l{i}: &l{i} [*l{i - 1}, *l{i - 1}, *l{i - 1}]" for i in range(1, 40)]
    for text in ("\n".join(["l0: &l0 [1]", *levels]), "models: &m [*m]"):
        (tmp_path / "m.yml").write_text(text)
        with pytest.raises(FileFormatError, match="aliases"):
            read_matrix(tmp_path / "m.yml")


@pytest.mark.parametrize("name", TINY)
def test_a_missing_section_has_a_default_or_is_told(name):
    table = {key: value for key, value in TINY.items() if key != name}
    if name in ("runs_per_config", "teleportations"):
        assert parse_matrix(table, "tiny").jobs()
    else:
        with pytest.raises(RecipeError, match=f"{name} is missing"):
            parse_matrix(table, "tiny")


def trained():
    names = (name for name in experiment_names() if isinstance(get_experiment(name).quick, TrainingSettings))
    return [(name, size) for name in names for size in ("quick", "full")]


@pytest.mark.parametrize(("name", "size"), trained())
def test_the_configurations_that_come_with_snnkit_are_right(name, size):
    settings = get_experiment(name).settings(size)
    jobs = read_configuration(settings).jobs()
    assert {job.teleport is None for job in jobs} == {True, False}
    assert len({job.optimizer.kwargs["lr"] for job in jobs}) == 4  # The control: each way at its best rate.
    assert all(job.training_params.epochs >= settings.box_epochs[-1] for job in jobs)
    assert {job.dataset.name for job in jobs} == ({"digits"} if size == "quick" else {"cifar10", "cifar100"})
    fewer = read_configuration(dataclasses.replace(settings, runs=1, epochs=2)).jobs()
    assert {(job.run, job.training_params.epochs) for job in fewer} == {(0, 2)}


def test_labels_tell_only_what_differs():
    jobs = tiny(
        optimizers=[
            {"cls": "SGD", "kwargs": {"lr": [0.1, 0.01], "momentum": [0.0, 0.9], "weight_decay": 0.01}},
        ],
        models=["MLP", {"cls": "VGG11", "small": True}],
    ).jobs()
    labels = Labels(jobs)
    assert {labels.of(job, "optimizer") for job in jobs} == {
        f"SGD lr={lr} momentum={momentum}" for lr in ("0.1", "0.01") for momentum in ("0", "0.9")
    }
    assert {labels.of(job, "teleport") for job in jobs} == {"no teleport", "teleport"}
    assert {labels.of(job, "model") for job in jobs} == {"MLP", "VGG11 small"}
    assert {labels.of(job, "optimizer.kwargs.lr") for job in jobs} == {"lr=0.1", "lr=0.01"}
    with pytest.raises(ConfigurationError, match="optimizer"):
        labels.of(jobs[0], "optimiser")


def test_the_learning_rate_of_an_optimizer_is_torchs_default_where_none_is_given():
    found = tiny(optimizers=["Adam", {"cls": "RMSprop", "kwargs": {"lr": 0.5}}, "SGD"]).optimizers
    assert [optimizer.lr for optimizer in found] == [1e-3, 0.5, 1e-3]
