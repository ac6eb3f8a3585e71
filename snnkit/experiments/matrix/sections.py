"""What one training job is made of: frozen dataclasses that a configuration's sections become."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from snnkit.experiments.data import DATASETS
from snnkit.experiments.matrix.callables import argument_problems, optimizers, schedulers
from snnkit.experiments.models import MODELS, model_arguments, model_problems
from snnkit.recipes.schema import Limits
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Dataset", "Initializer", "Model", "Optimizer", "Scheduler", "TrainingParams"]

InitializerType = Literal["none", "normal", "xavier", "xavier_uniform", "kaiming", "orthogonal"]


@dataclass(frozen=True)
class Dataset:
    """``datasets``: a name, or a table of these fields."""

    name: str
    train: Annotated[int, Limits(low=0)] = 0
    """Training images to keep; 0 keeps all."""

    def __post_init__(self) -> None:
        if self.name not in DATASETS:
            raise ConfigurationError(unknown_key_message("data set", self.name, DATASETS))


@dataclass(frozen=True)
class Model:
    """``models``: a name, or a table of these fields."""

    cls: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False
    """Narrow and shallow, for quick runs; ``kwargs`` still win."""
    scaled_activations: bool = False
    """Wrap activations that do not commute with positive scales into c f(x / c), c = 1 until a teleport."""

    def __post_init__(self) -> None:
        problems = model_problems(self.cls, self.kwargs)
        if self.cls in MODELS and not problems:
            problems = argument_problems(self.cls, self.kwargs, model_arguments(self.cls))
        _raise(problems)


@dataclass(frozen=True)
class Initializer:
    """``initializers``: how weights of linear layers and convolutions begin; biases then begin at 0."""

    type: InitializerType = "none"
    """"none" leaves torch's own initialisation, biases included."""
    gain: Annotated[float, Limits(above=0.0)] = 0.02
    """Standard deviation for "normal", gain for "xavier", "xavier_uniform" and "orthogonal"."""
    non_linearity: str = "relu"
    """For "kaiming": what torch's ``kaiming_normal_`` knows."""

    def __post_init__(self) -> None:
        known = ("linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu")
        if self.non_linearity not in known:
            raise ConfigurationError(unknown_key_message("non_linearity", self.non_linearity, known))


@dataclass(frozen=True)
class Scheduler:
    """``lr_scheduler`` of an optimizer. ReduceLROnPlateau watches the validation loss."""

    cls: str
    interval: Literal["epoch", "step"] = "epoch"
    """When it steps."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = schedulers()
        if self.cls not in known:
            raise ConfigurationError(unknown_key_message("lr_scheduler", self.cls, known))
        _raise(argument_problems(self.cls, self.kwargs, known[self.cls]))
        if self.cls == "ReduceLROnPlateau" and self.interval == "step":
            raise ConfigurationError(
                'ReduceLROnPlateau watches the validation loss, known once an epoch: interval = "epoch".'
            )


@dataclass(frozen=True)
class Optimizer:
    """``optimizers``: a class of ``torch.optim`` and its arguments."""

    cls: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    lr_scheduler: Scheduler | None = None

    def __post_init__(self) -> None:
        known = optimizers()
        if self.cls not in known:
            raise ConfigurationError(unknown_key_message("optimizer", self.cls, known))
        _raise(argument_problems(self.cls, self.kwargs, known[self.cls]))

    @property
    def lr(self) -> float:
        """The learning rate, torch's default where none is given."""
        return float(self.kwargs.get("lr", optimizers()[self.cls]["lr"]))


@dataclass(frozen=True)
class TrainingParams:
    """``training_params``: the same for every job."""

    epochs: Annotated[int, Limits(low=1)]
    batch_size: Annotated[int, Limits(low=1)] = 256
    shuffle: bool = True
    drop_last: bool = False


def _raise(problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(" ".join(problems))
