"""Stage ``finetune``: the trained net learns on with what the chip computes with; resumable.

Weight shifts and the largest states come from a deployment of the float net, chosen in the bit-exact
simulator on training recordings; they are kept beside the weights, so that a run is read back without
choosing again.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from snnkit.nn.combinators.sequential import TorchSequential
from snnkit.nn.hop_delays import count_hops
from snnkit.recipes.fitting import fit, save_net
from snnkit.recipes.metrics_file import read_metrics, update_metrics
from snnkit.recipes.prepare import Prepared
from snnkit.recipes.progress import Progress
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import TrainedFloat, load_float
from snnkit.training.checkpoint import Checkpoint
from snnkit.training.metrics import accuracy
from snnkit.training.trainer import (
    Epoch,
    load_parameters,
    predict,
    read_history,
    torch_threads,
    trained_parameters,
)
from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["Trained", "finetune_trained", "load_trained", "refuse_unless_untuned"]

_SHIFTS = ("weight_shift_in", "weight_shift_rec", "weight_shift_out")


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes:
        prepared: Recordings, encoder and rasters.
        float_net: The trained net.
        tuned_net: The net after fine-tuning: chip-exact, or with its transforms in place.
        history: All epochs, float first.
        outputs: Output events of the test split ``(recordings, time, outputs)`` in the float net's time, by
            stage: "float" and that of the fine-tuning.
        shift_curve: What the float net would reach on training recordings by weight shift: tables of "shift",
            "accuracy" and "saturations". Empty for runs of earlier releases.
    """

    prepared: Prepared
    float_net: TorchSequential
    tuned_net: nn.Module
    history: tuple[Epoch, ...]
    outputs: Mapping[str, np.ndarray]
    shift_curve: tuple[Mapping[str, Any], ...]

    @property
    def stage(self) -> str:
        """Stage of the fine-tuning: "chip_exact" or "qat"."""
        return self.prepared.recipe.finetuning.stage

    @property
    def is_exact(self) -> bool:
        """Whether the fine-tuned net computes what the chip computes."""
        return self.stage == "chip_exact"

    @property
    def lag(self) -> int:
        """Time steps by which the chip's outputs come after the float net's: one for each hop."""
        return count_hops(self.float_net)

    def predictions(self, stage: str) -> np.ndarray:
        """Classes of the test split ``(recordings,)`` by the net of a stage."""
        return self.prepared.readout.predict(self.outputs[stage])

    def accuracy(self, stage: str) -> float:
        """Fraction of the test split that the net of a stage names rightly."""
        return accuracy(self.predictions(stage), self.prepared.test_labels)


def refuse_unless_untuned(folder: RunFolder, resume: bool) -> None:
    """Raise ConfigurationError if the run is fine-tuned already, or was begun to be, and may not go on."""
    tuning = folder.recipe().finetuning
    begun = folder.tuned_net(tuning.method).is_file()
    if not begun and folder.checkpoint.exists():
        begun = Checkpoint.load(folder.checkpoint).about.get("stage") == tuning.stage
    if begun and not resume:
        raise ConfigurationError(
            f"The fine-tuning of {folder.path} was begun already. Continue it with --resume, or make "
            "another run of its float net with --out."
        )


def finetune_trained(trained: TrainedFloat, folder: RunFolder, progress: Progress) -> Trained:
    """Fine-tune the float net of a run and write what came of it; see :func:`snnkit.recipes.stages`."""
    prepared = trained.prepared
    tuning = prepared.recipe.finetuning
    read_metrics(folder)
    with torch_threads(prepared.recipe.training.threads):
        if folder.tuned_net(tuning.method).is_file():
            found = _load(trained, folder)
        else:
            found = _finetune(trained, folder, progress)
    accuracies = {stage: found.accuracy(stage) for stage in ("float", found.stage)}
    update_metrics(folder, prepared.recipe, accuracy=accuracies)
    return found


def load_trained(folder: RunFolder) -> Trained:
    """Return what :func:`finetune_trained` left in ``folder``.

    Raises:
        ConfigurationError: training or fine-tuning has not finished there.
        FileFormatError: a file is damaged, or the recordings are not those that the net was trained on.
    """
    trained = load_float(folder)
    if not folder.tuned_net(trained.prepared.recipe.finetuning.method).is_file():
        raise ConfigurationError(
            f"{folder.path} holds no fine-tuned net. Make one with: snnkit finetune {folder.path}"
        )
    with torch_threads(trained.prepared.recipe.training.threads):
        return _load(trained, folder)


def _finetune(trained: TrainedFloat, folder: RunFolder, progress: Progress) -> Trained:
    prepared = trained.prepared
    tuning = prepared.recipe.finetuning
    plan, curve = _choose_plan(trained)
    net = _chip_net(trained, plan)
    history: tuple[Epoch, ...] = ()
    if tuning.epochs:
        lag = count_hops(trained.net) if tuning.stage == "chip_exact" else 0
        history = fit(net, prepared, folder, tuning.stage, progress, lag=lag)
    _observe_states(net, prepared)
    peaks = {f"peak.{path}": peak for path, peak in plan.peaks.items()}
    about = {"headroom": plan.headroom, **{name: getattr(plan, name) for name in _SHIFTS}}
    about["shift_curve"] = list(curve)
    path = folder.tuned_net(tuning.method)
    save_net(net, history, prepared, path, tensors=peaks, about=about)
    return _evaluated(trained, net, history, curve)


def _load(trained: TrainedFloat, folder: RunFolder) -> Trained:
    path = folder.tuned_net(trained.prepared.recipe.finetuning.method)
    saved = Checkpoint.load(path)
    net = _chip_net(trained, _saved_plan(saved, trained))
    load_parameters(trained_parameters(net), saved.part("parameter"), path.name)
    _observe_states(net, trained.prepared)
    return _evaluated(trained, net, read_history(saved), tuple(saved.about.get("shift_curve", ())))


def _choose_plan(trained: TrainedFloat) -> tuple[ScalePlan, tuple[dict[str, Any], ...]]:
    """Shifts that serve the float net best on the chip, and its largest states, on training recordings."""
    from snnkit.hw.xylo.deployment.deploy import deploy

    prepared = trained.prepared
    deployment = deploy(
        trained.net,
        prepared.chip,
        calibration=prepared.calibration_events(),
        labels=prepared.calibration_labels(),
        readout=prepared.readout.predict,
    )
    return deployment.plan, tuple(asdict(point) for point in deployment.report.shift_curve)


def _saved_plan(saved: Checkpoint, trained: TrainedFloat) -> ScalePlan:
    if "headroom" not in saved.about:  # Earlier releases chose again.
        return _choose_plan(trained)[0]
    try:
        shifts = {name: int(saved.about[name]) for name in _SHIFTS}
        return ScalePlan(**shifts, peaks=saved.part("peak"), headroom=float(saved.about["headroom"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"The fine-tuned net's shifts are damaged: {error}") from error


def _chip_net(trained: TrainedFloat, plan: ScalePlan) -> nn.Module:
    """A copy of the float net that computes with the chip's integers, as the recipe's method has it.

    Where deployment searches them, the float net's own values are what the program is made of.
    """
    prepared = trained.prepared
    if prepared.recipe.searches_orbit:
        return copy.deepcopy(trained.net)
    if prepared.recipe.finetuning.stage == "chip_exact":
        from snnkit.hw.xylo import chip_exact

        return chip_exact(trained.net, prepared.chip, plan=plan)
    from snnkit.transforms.chip import for_chip

    net: nn.Module = for_chip(trained.net, prepared.chip, plan=plan)
    return net


def _observe_states(net: nn.Module, prepared: Prepared) -> None:
    """Fit a rounding net's scales to its trained states: training moves them beyond those it began with.

    A chip-exact net saw the chip's limits while it learned.
    """
    if prepared.recipe.finetuning.stage == "qat" and not prepared.recipe.searches_orbit:
        from snnkit.transforms.chip import recalibrate

        recalibrate(net, prepared.calibration_events().float())
    net.eval()


def _evaluated(
    trained: TrainedFloat,
    net: nn.Module,
    history: tuple[Epoch, ...],
    curve: tuple[Mapping[str, Any], ...],
) -> Trained:
    prepared = trained.prepared
    stage = prepared.recipe.finetuning.stage
    lag = count_hops(trained.net) if stage == "chip_exact" else 0
    tuned: Any = predict(net, torch.from_numpy(prepared.test_events), lag=lag).numpy()
    outputs = {"float": trained.outputs(), stage: tuned}
    return Trained(prepared, trained.net, net, trained.history + history, outputs, curve)
