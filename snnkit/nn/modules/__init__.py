"""Modules: the base class, weights, neurons, dropouts and encoders, under Rockpool's names."""

from snnkit.nn import channel_rules, graph_rules, scale_rules  # noqa: F401 - tell the graph about these modules
from snnkit.nn.leaks import (
    bitshift_to_decay,
    bitshift_to_tau,
    calc_bitshift_decay,
    decay_to_bitshift,
    decay_to_tau,
    inv_calc_bitshift_decay,
    tau_to_bitshift,
    tau_to_decay,
)
from snnkit.nn.modules.ahp_lif import aLIFTorch
from snnkit.nn.modules.bool_state import BooleanState
from snnkit.nn.modules.callables import register_callable
from snnkit.nn.modules.conversion import convert
from snnkit.nn.modules.dropout import TimeStepDropout, UnitDropout
from snnkit.nn.modules.exp_syn import ExpSynTorch
from snnkit.nn.modules.instant import InstantTorch
from snnkit.nn.modules.json_values import json_to_param, param_to_json
from snnkit.nn.modules.lif import LIFTorch
from snnkit.nn.modules.lif_base import LIFBaseTorch
from snnkit.nn.modules.lif_bitshift import LIFBitshiftTorch
from snnkit.nn.modules.lif_neuron import LIFNeuronTorch
from snnkit.nn.modules.linear import LinearTorch
from snnkit.nn.modules.low_pass import LowPass
from snnkit.nn.modules.module import TorchModule, UnexpectedArgumentError
from snnkit.nn.modules.rate import RateTorch, unit_eigs
from snnkit.nn.modules.trees import TorchModuleParameters
from snnkit.nn.modules.updown import UpDownTorch
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

__all__ = [
    "BooleanState",
    "ExpSynTorch",
    "InstantTorch",
    "LIFBaseTorch",
    "LIFBitshiftTorch",
    "LIFNeuronTorch",
    "LIFTorch",
    "LinearTorch",
    "LowPass",
    "PeriodicExponential",
    "RateTorch",
    "StepPWL",
    "TimeStepDropout",
    "TorchModule",
    "TorchModuleParameters",
    "UnexpectedArgumentError",
    "UnitDropout",
    "UpDownTorch",
    "aLIFTorch",
    "bitshift_to_decay",
    "bitshift_to_tau",
    "calc_bitshift_decay",
    "convert",
    "decay_to_bitshift",
    "decay_to_tau",
    "inv_calc_bitshift_decay",
    "json_to_param",
    "param_to_json",
    "register_callable",
    "tau_to_bitshift",
    "tau_to_decay",
    "unit_eigs",
]
