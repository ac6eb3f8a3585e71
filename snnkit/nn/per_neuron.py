"""Constants that are one number for all neurons of a population, made one for each."""

from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.modules.ahp_lif import aLIFTorch
from snnkit.nn.modules.exp_syn import ExpSynTorch
from snnkit.nn.modules.lif_base import LIFBaseTorch
from snnkit.nn.modules.lif_neuron import LIFNeuronTorch
from snnkit.nn.modules.store import write_data
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["SHARED", "expand_to_neurons"]

_NEURONS = ("threshold", "bias", "noise_std", "learning_window")
SHARED: dict[type[nn.Module], tuple[str, ...]] = {
    aLIFTorch: (*_NEURONS, "w_ahp"),
    LIFBaseTorch: _NEURONS,
    LIFNeuronTorch: _NEURONS,
    ExpSynTorch: ("noise_std",),
}
"""The constants that may be one number, or a tensor with one for each neuron, by class of module."""


def expand_to_neurons(net: nn.Module, *names: str) -> nn.Module:
    """Give every neuron its own threshold and bias where one number is for all; return the net.

    Nothing changes in what the net computes. Afterwards the constants can take another value for each
    neuron: by training, by hand, or by teleportation, for which a shared threshold ties the factors of all
    neurons of the population. Parameters stay the same objects; an optimiser that has moments of the old
    shape must be made anew.

    Args:
        net: changed in place; modules inside it as well.
        *names: the constants, of :data:`SHARED`; by default ``threshold``, ``bias``, ``w_ahp``, and
            ``noise_std`` where there is noise. ``learning_window`` is expanded only if it is named, as
            surrogates with one window for each neuron run on torch's operations instead of compiled kernels
            (with ``relative_window`` none is needed).

    Raises:
        ConfigurationError: no module has a constant of that name.
    """
    known = sorted({name for shared in SHARED.values() for name in shared})
    for name in names:
        if name not in known:
            raise ConfigurationError(unknown_key_message("constant of neurons", name, known))
    for module in nn.Module.modules(net):  # our own modules() returns something else
        shared: tuple[str, ...] = next((s for cls, s in SHARED.items() if isinstance(module, cls)), ())
        for name in shared:
            if name in names or (not names and name != "learning_window"):
                _expand(module, name)
    return net


def _expand(module: Any, name: str) -> None:
    value, count = getattr(module, name), module.size_out
    if isinstance(value, Tensor) and value.ndim:
        return
    if isinstance(value, nn.Parameter):
        write_data(value, value.detach().expand(count).clone())
    elif isinstance(value, Tensor):
        setattr(module, name, value.expand(count).clone())
    elif value != 0:
        like = next(buffer for buffer in nn.Module.buffers(module) if buffer.is_floating_point())
        setattr(module, name, torch.full((count,), value).to(like))
