"""All transforms under the name of Rockpool's module: ``import snnkit.transforms.torch_transform as tt``."""

from .base import ParameterTransform
from .configuration import (
    compose_T_config,
    make_act_T_config,
    make_bitshift_T_config,
    make_joint_T_config,
    make_param_T_config,
)
from .decays import bitshift_tau, calc_q_decay, class_calc_q_decay, round_dash, t_decay
from .learned_step import LearnedStepSize
from .modes import deterministic_transforms, is_deterministic
from .noise import dropout, mismatch_generator, mismatch_noise
from .passthrough import floor_passthrough, make_backward_passthrough, round_passthrough, straight_through
from .patching import (
    advance_transforms,
    apply_T,
    bare_path,
    freeze_masks,
    load_transform_state,
    make_act_T_network,
    make_param_T_network,
    remove_T_net,
    transform_state,
)
from .pruning import CubicSchedule, FanInPruning, FanOutPruning, FixedMask, MagnitudePruning
from .rounding import deterministic_rounding, int_quant, stochastic_channel_rounding, stochastic_rounding
from .wrappers import ActWrapper, TWrapper

__all__ = [
    "ActWrapper",
    "CubicSchedule",
    "FanInPruning",
    "FanOutPruning",
    "FixedMask",
    "LearnedStepSize",
    "MagnitudePruning",
    "ParameterTransform",
    "TWrapper",
    "advance_transforms",
    "apply_T",
    "bare_path",
    "bitshift_tau",
    "calc_q_decay",
    "class_calc_q_decay",
    "compose_T_config",
    "deterministic_rounding",
    "deterministic_transforms",
    "dropout",
    "floor_passthrough",
    "freeze_masks",
    "int_quant",
    "is_deterministic",
    "load_transform_state",
    "make_act_T_config",
    "make_act_T_network",
    "make_backward_passthrough",
    "make_bitshift_T_config",
    "make_joint_T_config",
    "make_param_T_config",
    "make_param_T_network",
    "mismatch_generator",
    "mismatch_noise",
    "remove_T_net",
    "round_dash",
    "round_passthrough",
    "stochastic_channel_rounding",
    "stochastic_rounding",
    "straight_through",
    "t_decay",
    "transform_state",
]
