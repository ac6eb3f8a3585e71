"""What a recipe says: frozen dataclasses that a TOML file fills. The defaults here are the documentation."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from snnkit.data import Encoding, FolderLayout
from snnkit.recipes.schema import Limits
from snnkit.utilities.chips import CHIPS
from snnkit.utilities.errors import ConfigurationError

__all__ = [
    "METHODS",
    "DataSection",
    "DeploySection",
    "FinetuningSection",
    "NetworkSection",
    "Recipe",
    "TrainingSection",
]

SOURCES = ("basic-motions", "japanese-vowels", "folder")
METHODS = ("chip-exact", "qat")
DEPLOYMENTS = ("peaks", "orbit")


@dataclass(frozen=True)
class DataSection:
    """``[data]``: where recordings come from. All but ``source`` is for ``folder`` only.

    ``path`` is the directory (``--data``); the rest is :class:`snnkit.data.FolderLayout`.
    """

    source: Annotated[str, Limits(choices=SOURCES)]
    path: str = ""
    pattern: str = ""
    split_by: str = ""
    test_values: tuple[str, ...] = ()
    test_fraction: float = 0.2
    sample_rate: float = 0.0
    split_seed: Annotated[int, Limits(low=0)] = 0
    """Decides a random split; apart from the recipe's seed, so that seeds share one split."""

    def __post_init__(self) -> None:
        self.layout()

    def layout(self) -> FolderLayout:
        """The folder's labels and split; contradictions raise ConfigurationError."""
        return FolderLayout(
            pattern=self.pattern,
            split_by=self.split_by,
            test_values=self.test_values,
            test_fraction=self.test_fraction,
            sample_rate=self.sample_rate,
        )


@dataclass(frozen=True)
class NetworkSection:
    """``[network]``: hidden layers of leaky integrate-and-fire neurons and one output layer.

    Decays are given as the chip's dashes: a state loses 2^-dash of itself in each step. A layer's neurons
    take the listed synapse dashes in turn, so that one layer sees several time scales.
    """

    hidden: Annotated[tuple[int, ...], Limits(low=1)]
    recurrent: bool = True
    biases: bool = False
    """Train a bias for every neuron. The chip holds biases in 8 bits beside 16-bit states, and one scale
    serves all of a neuron's values: a bias of a fair size costs its weights their precision."""
    outputs_per_class: Annotated[int, Limits(low=1)] = 1
    """Output neurons whose events add up for one class."""
    weight_bits: Annotated[int, Limits(low=2, high=8)] = 8
    """Bits of a weight on the chip, which has 8; fewer make do with coarser weights."""
    dt: Annotated[float, Limits(above=0.0, unit="s")] = 1e-3
    synapse_dashes: Annotated[tuple[int, ...], Limits(low=1, high=15)] = (1, 2, 3, 4, 5)
    membrane_dashes: Annotated[tuple[int, ...], Limits(low=1, high=15)] = (3,)
    output_synapse_dash: Annotated[int, Limits(low=1, high=15)] = 2
    output_membrane_dash: Annotated[int, Limits(low=1, high=15)] = 4

    def __post_init__(self) -> None:
        for name in ("hidden", "synapse_dashes", "membrane_dashes"):
            if not getattr(self, name):
                raise ConfigurationError(f"{name} must hold at least one number.")


@dataclass(frozen=True)
class TrainingSection:
    """``[training]``: float training."""

    epochs: Annotated[int, Limits(low=1)] = 100
    batch_size: Annotated[int, Limits(low=1)] = 64
    learning_rate: Annotated[float, Limits(above=0.0)] = 0.02
    """Relative to the size of each neuron's weights: 0.02 moves a weight by up to 2 % a step."""
    warmup: Annotated[float, Limits(low=0.0, high=1.0)] = 0.1
    """Fraction of the steps over which the rate rises, before it falls as a cosine."""
    label_smoothing: Annotated[float, Limits(low=0.0, high=0.9)] = 0.05
    dropout: Annotated[float, Limits(low=0.0, high=0.9)] = 0.2
    """Chance that a hidden neuron is not heard by the next layer for one recording."""
    level_noise: Annotated[float, Limits(low=0.0, unit="events")] = 1.0
    """Standard deviation of the noise added to the input before it is rounded to events."""
    gain_noise: Annotated[float, Limits(low=0.0)] = 0.0
    """Standard deviation of each channel's gain and of its offset (relative to the event limit)."""
    time_warp: Annotated[float, Limits(low=0.0, high=0.9)] = 0.1
    """Largest change of speed, and of place, as a fraction."""
    logit_scale: Annotated[float, Limits(above=0.0)] = 20.0
    """Logit of an output that fires in every step."""
    rate_limit: Annotated[float, Limits(above=0.0, unit="events per step")] = 3.0
    rate_weight: Annotated[float, Limits(low=0.0)] = 0.0
    """Weight of the penalty on hidden neurons whose mean rate exceeds ``rate_limit``."""
    averaging: Annotated[float, Limits(above=0.0, high=1.0)] = 0.05
    """Share of the newest weights in the moving average that is kept; 1 keeps the last weights."""
    checkpoint_seconds: Annotated[float, Limits(low=0.0, unit="s")] = 20.0
    """Least time between two checkpoints of an unfinished run."""
    threads: Annotated[int, Limits(low=1, high=256)] = 1
    """Threads of torch while training. Results are repeatable for a given number of them."""


@dataclass(frozen=True)
class FinetuningSection:
    """``[finetuning]``: training on with the chip's integers in the forward pass; 0 epochs leave it out.

    The method ``chip-exact`` computes what the chip computes, to the last bit, hop delays and saturation
    included: the program that is deployed answers as the trained net does. ``qat``, the classic route,
    rounds weights and decays in a net of real states, and what is left differs on the chip.
    """

    method: Annotated[str, Limits(choices=METHODS)] = "chip-exact"
    epochs: Annotated[int, Limits(low=0)] = 40
    learning_rate: Annotated[float, Limits(above=0.0)] = 0.005
    calibration_recordings: Annotated[int, Limits(low=1)] = 256
    """Training recordings, at most, on which state ranges are observed and weight shifts chosen."""

    @property
    def stage(self) -> str:
        """The method as a key of metrics, histories and the report."""
        return self.method.replace("-", "_")


@dataclass(frozen=True)
class DeploySection:
    """``[deploy]``: how the integers of the program are chosen.

    ``peaks`` takes those that the net was fine-tuned with. ``orbit`` deploys the float net and searches the
    integers of each neuron on the training recordings of the calibration, in the chip's own arithmetic; the
    net is not fine-tuned then: ``finetuning.method = "qat"`` and ``finetuning.epochs = 0``.
    """

    method: Annotated[str, Limits(choices=DEPLOYMENTS)] = "peaks"


@dataclass(frozen=True)
class Recipe:
    """One run, from recordings to a verified chip program."""

    name: str
    title: str
    chip: Annotated[str, Limits(choices=tuple(CHIPS))]
    data: DataSection
    encoding: Encoding
    network: NetworkSection
    seed: Annotated[int, Limits(low=0, high=2**31 - 1)] = 0
    training: TrainingSection = field(default_factory=TrainingSection)
    finetuning: FinetuningSection = field(default_factory=FinetuningSection)
    deploy: DeploySection = field(default_factory=DeploySection)

    def __post_init__(self) -> None:
        if self.searches_orbit and (self.finetuning.method != "qat" or self.finetuning.epochs):
            raise ConfigurationError(
                'deploy.method = "orbit" chooses the integers of the float net, which fine-tuning '
                f'(finetuning.method = "{self.finetuning.method}", epochs = {self.finetuning.epochs}) fixes '
                'before: set finetuning.method = "qat" and finetuning.epochs = 0, or leave deploy.method out.'
            )
        if not self.name or any(c in self.name for c in "/\\"):
            raise ConfigurationError(f"name is {self.name!r}; it must be a word without slashes.")

    @property
    def searches_orbit(self) -> bool:
        """Whether the float net itself is deployed, its integers searched over its orbit."""
        return self.deploy.method == "orbit"

    def as_table(self) -> dict[str, Any]:
        """The recipe as plain tables, every default written out; loading it gives an equal recipe."""
        from snnkit.recipes.toml import as_table

        return as_table(self)
