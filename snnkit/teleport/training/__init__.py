"""Teleportation during training: optimisers that follow, a callback, objectives, laws and controls."""

from .callback import TeleportationCallback
from .choosing import Choice, choose
from .controls import pseudo_teleported, same_distribution
from .element_moves import moves_of
from .frames import OptimiserFrame, optimiser_frame
from .generators import angle, cosine, generator_cosines, layer_of, orbit_direction, slopes_along_orbit
from .laws import Layer, Moments, gradient_growth, moments, weight_growth
from .look_ahead import loss_after_step
from .losses import LossFunction, LossOnBatches
from .moves import GRADIENT, GRADIENT_SIZE, SIZE, SQUARE, STEP, WEIGHT, Carrier, Law, Move
from .objectives import (
    GradientNorm,
    HessianTrace,
    LargestEigenvalue,
    LossAfterStep,
    ObjectiveOptions,
    OrbitObjective,
    WeightedGradientNorm,
    objective_named,
)
from .records import Displacement, TeleportationRecord
from .search import Found, find_element
from .settings import TeleportationSettings
from .state_laws import register_state_laws
from .transport import Transport, teleport_in_training, transport

__all__ = [
    "GRADIENT",
    "GRADIENT_SIZE",
    "SIZE",
    "SQUARE",
    "STEP",
    "WEIGHT",
    "Carrier",
    "Choice",
    "Displacement",
    "Found",
    "GradientNorm",
    "HessianTrace",
    "LargestEigenvalue",
    "Law",
    "Layer",
    "LossAfterStep",
    "LossFunction",
    "LossOnBatches",
    "Moments",
    "Move",
    "ObjectiveOptions",
    "OptimiserFrame",
    "OrbitObjective",
    "TeleportationCallback",
    "TeleportationRecord",
    "TeleportationSettings",
    "Transport",
    "WeightedGradientNorm",
    "angle",
    "choose",
    "cosine",
    "find_element",
    "generator_cosines",
    "gradient_growth",
    "layer_of",
    "loss_after_step",
    "moments",
    "moves_of",
    "objective_named",
    "optimiser_frame",
    "orbit_direction",
    "pseudo_teleported",
    "register_state_laws",
    "same_distribution",
    "slopes_along_orbit",
    "teleport_in_training",
    "transport",
    "weight_growth",
]
