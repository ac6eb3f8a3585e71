"""The model with the weights of channels set to zero: what a smaller model must be equal to."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from snnkit.dag.analysis.axes import leaves
from snnkit.dag.analysis.copying import named_tensors
from snnkit.dag.channels import Coupling, Group
from snnkit.dag.dag_module import DagModule

__all__ = ["masked"]


def masked(dag: DagModule, coupling: Coupling, keep: Mapping[Group, NDArray[np.bool_]]) -> DagModule:
    """Return a copy of ``dag`` in which all weights that belong to dropped channels are zero.

    Weights are parameters of floating point. Buffers stay (statistics), and so do parameters that divide,
    such as thresholds, of which zero would be no value.
    """
    copied = dag.copy()
    tensors = named_tensors(copied)
    p = coupling.propagation
    stays = {(value.name, atom) for value, axis in p.unmasked for atom in leaves(axis)}
    for group, mask in keep.items():
        for member in group.members:
            tensor = tensors[member.name]
            is_weight = member.role != "state" and tensor.is_floating_point()
            if is_weight and (member.name, group.atom) not in stays:
                index = torch.from_numpy(member.positions[~mask].ravel()).to(tensor.device)
                with torch.no_grad():
                    tensor.index_fill_(member.axis, index, 0.0)
    return copied
