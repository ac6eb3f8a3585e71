"""Initial weights by the names of configurations."""

import torch
from torch import nn

from snnkit.experiments.matrix.sections import Initializer

__all__ = ["initialise"]

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)


@torch.no_grad()
def initialise(model: nn.Module, initializer: Initializer, generator: torch.Generator) -> None:
    """Draw the weights of linear layers and convolutions anew and set their biases to 0; norms stay.

    The type "none" leaves everything as the model's constructor made it.
    """
    if initializer.type == "none":
        return
    for module in model.modules():
        if isinstance(module, _WEIGHTED):
            _draw(module.weight, initializer, generator)
            if module.bias is not None:
                module.bias.zero_()


def _draw(weight: torch.Tensor, initializer: Initializer, generator: torch.Generator) -> None:
    gain = initializer.gain
    if initializer.type == "normal":
        nn.init.normal_(weight, std=gain, generator=generator)
    elif initializer.type == "xavier":
        nn.init.xavier_normal_(weight, gain, generator=generator)
    elif initializer.type == "xavier_uniform":
        nn.init.xavier_uniform_(weight, gain, generator=generator)
    elif initializer.type == "orthogonal":
        nn.init.orthogonal_(weight, gain, generator=generator)
    else:
        name = initializer.non_linearity
        nn.init.kaiming_normal_(weight, nonlinearity=name, generator=generator)  # type: ignore[arg-type]
