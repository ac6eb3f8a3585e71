"""What the spiking modules with sparse weights share: the dense view of the matrix that they keep apart."""

from typing import Any

from torch import Tensor

from snnkit.nn.modules.module import TorchModule
from snnkit.sparse.synapses import Synapses

__all__ = ["SparseSpiking"]


class SparseSpiking(TorchModule):
    """A spiking module whose matrix is in the child :attr:`synapses`.

    Under the matrix's own name, ``weight`` or ``w_rec``, there is a dense view of it: computed at every
    reading, differentiable in the values, and to be assigned to, where zeros are no synapses.
    """

    synapses: Synapses
    _matrix: str

    def __setattr__(self, name: str, value: Any) -> None:
        if name == self._matrix and isinstance(value, Tensor) and "synapses" in self._modules:
            self.synapses.assign(value)
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        dense = state_dict.pop(prefix + self._matrix, None)
        if dense is not None:
            # That of the dense module, whose zeros are no synapses.
            state_dict[f"{prefix}synapses.weight"] = dense
        super()._load_from_state_dict(state_dict, prefix, *args)
