"""What was done to a model, so that it can be undone to the bit."""

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport.element import Element, identity
from snnkit.teleport.teleportation import teleport

__all__ = ["History"]


class History:
    """The tensors of a model before its teleportation, and after it.

    Attributes:
        element: What was done.
    """

    def __init__(self, model: nn.Module, element: Element) -> None:
        self._model = (model,)  # in a tuple, so that no module takes it for its own
        self._before: dict[str, Tensor] = {}
        self._after: dict[str, Tensor] = {}
        self.element = element

    def _tensors(self) -> dict[str, Tensor]:
        return named_tensors(self._model[0])

    def do(self, element: Element, *, alone: bool) -> None:
        """Teleport; ``alone`` forgets what was done before."""
        base = {} if alone else self._taken_back()
        before = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        teleport(self._model[0], element)
        self.element = element if alone else self.element.then(element)
        touched = self.element.symmetries.names
        tensors = self._tensors()
        self._before = {name: base.get(name, before[name]) for name in touched}
        self._after = {name: tensors[name].detach().clone() for name in touched}

    def undo(self) -> None:
        """Take back all that was done."""
        taken = self._taken_back()
        tensors = self._tensors()
        with torch.no_grad():
            for name, value in taken.items():
                tensors[name].copy_(value)
        self.forget()

    def _taken_back(self) -> dict[str, Tensor]:
        """Return the tensors as they would be without what was done."""
        tensors = self._tensors()
        divided = self.element.inverse().apply(tensors)
        for name, after in self._after.items():
            if torch.equal(tensors[name], after):
                divided[name] = self._before[name]
        return divided

    def forget(self) -> None:
        """Count the present tensors as those that nothing was done to."""
        self.set(identity(self.element.symmetries))

    def set(self, element: Element) -> None:
        """Count the present tensors as those that ``element`` made."""
        self.element = element
        self._before.clear()
        self._after.clear()
