"""Symmetries of a network: changes of its parameters that leave its function as it is."""

from .activations import ScaledActivation, with_scaled_activations
from .changes import Change
from .channels import ChannelPart
from .element import Element, compose, identity, inverse
from .equalisation import are_equivalent, canonical_form, equalize
from .errors import TeleportError
from .files import load, save
from .freedoms import Freedom
from .neural_teleportation_model import NeuralTeleportationModel
from .parts import Part, register_part
from .sampling import SAMPLINGS, random
from .symmetries import Symmetries, symmetries
from .teleportation import random_teleport, teleport

__all__ = [
    "SAMPLINGS",
    "Change",
    "ChannelPart",
    "Element",
    "Freedom",
    "NeuralTeleportationModel",
    "Part",
    "ScaledActivation",
    "Symmetries",
    "TeleportError",
    "are_equivalent",
    "canonical_form",
    "compose",
    "equalize",
    "identity",
    "inverse",
    "load",
    "random",
    "random_teleport",
    "register_part",
    "save",
    "symmetries",
    "teleport",
    "with_scaled_activations",
]
