"""How far a network's states go on data: what limits the scale of a neuron besides its parameters."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.modules import LIFBaseTorch, TorchModule
from snnkit.utilities.errors import DataError

from .patching import bare_path

__all__ = ["like_the_values_of", "observe_state_peaks", "quiet_copy"]


def observe_state_peaks(net: nn.Module, batch: Any) -> dict[str, Tensor]:
    """Return the largest absolute state of every LIF neuron on a batch: ``{module path: (N,)}``, float64.

    Counted are the states as a chip holds them within a step, before they leak or reset: each synapse after
    its input has arrived, the membrane before its events are subtracted, and the change of the membrane.
    Paths are those of the bare network; transforms apply in their evaluation mode.

    Args:
        net: the network, wrapped or not. It is left as it is, its states included.
        batch: ``(batch, time, channels)`` input, tensor or array of any type.

    Raises:
        DataError: the batch is empty, or the network's states on it are not finite.
    """
    data = like_the_values_of(net, batch)
    if data.numel() == 0:
        raise DataError(f"Calibration needs data, but the batch has shape {tuple(data.shape)}.")
    observed = quiet_copy(net)
    peaks: dict[str, Tensor] = {}
    for path, module in observed.named_modules():
        if isinstance(module, LIFBaseTorch):
            module.register_forward_pre_hook(_start_recording)
            module.register_forward_hook(_peak_hook(bare_path(path), peaks))
    with torch.no_grad():
        observed(data)
    wrong = [path for path, peak in peaks.items() if not bool(torch.isfinite(peak).all())]
    if wrong:
        raise DataError(f"The states of {', '.join(wrong)} are not finite on the calibration data.")
    return peaks


def like_the_values_of(net: nn.Module, batch: Any) -> Tensor:
    """Return ``batch`` detached, in the type and on the device of the network's values."""
    found = (tensor for tensor in net.state_dict().values() if tensor.is_floating_point())
    like = next(found, torch.empty(0))
    return torch.as_tensor(batch).detach().to(dtype=like.dtype, device=like.device)


def quiet_copy(net: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, at rest and without noise, whose runs can be repeated."""
    copied = copy.deepcopy(net).eval()
    for _, module in copied.named_modules():
        if isinstance(module, TorchModule):
            module.reset_state()
        if isinstance(module, LIFBaseTorch):
            noise = module.noise_std
            module.noise_std = torch.zeros_like(noise) if isinstance(noise, Tensor) else 0.0
    return copied


def _start_recording(module: nn.Module, _args: Any) -> None:
    module._record = True  # type: ignore[assignment]


def _peak_hook(path: str, peaks: dict[str, Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    """Return a hook that raises ``peaks[path]`` to what the module's recording of this call reaches."""

    def hook(module: nn.Module, _args: Any, _output: Any) -> None:
        found = _peaks_of(module)
        peaks[path] = torch.maximum(peaks[path], found) if path in peaks else found

    return hook


def _peaks_of(module: Any) -> Tensor:
    record = {name: value.to(torch.float64) for name, value in module._record_dict.items()}
    # A decay of 0 leaves nothing to divide; no chip has one, so such a synapse is bounded by its output.
    beta = module.beta.to(torch.float64).clamp(min=1e-3)
    synapse = (record["isyn"] / beta).abs().amax(-1)
    fired = record["vmem"] + record["spikes"] * module.threshold
    before = torch.cat([torch.zeros_like(fired[:, :1]), record["vmem"][:, :-1]], dim=1)
    states = torch.stack([synapse, fired.abs(), (fired - before).abs()])
    return states.amax((0, 1, 2))
