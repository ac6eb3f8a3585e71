"""Kinds of fields in the settings of experiments: wrong values are told before anything runs."""

from typing import Annotated

from snnkit.experiments.data import DATASETS
from snnkit.experiments.models import MODELS
from snnkit.recipes.schema import Limits

__all__ = ["BatchSizes", "DataName", "DataNames", "Densities", "ModelName", "ModelNames", "Sparsities"]

ModelName = Annotated[str, Limits(choices=tuple(MODELS))]
ModelNames = Annotated[tuple[str, ...], Limits(choices=tuple(MODELS), fewest=1)]
DataName = Annotated[str, Limits(choices=DATASETS)]
DataNames = Annotated[tuple[str, ...], Limits(choices=DATASETS, fewest=1)]
Sparsities = Annotated[tuple[float, ...], Limits(low=0.0, high=0.9999, fewest=1)]
Densities = Annotated[tuple[float, ...], Limits(above=0.0, high=1.0, fewest=1)]
BatchSizes = Annotated[tuple[int, ...], Limits(low=1, fewest=1)]
