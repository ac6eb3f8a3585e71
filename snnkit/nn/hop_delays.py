"""The step that an event takes from one layer of a chip to the next, in a network of torch.

In torch an event passes all layers in the step in which it arises. On a Xylo it reaches other neurons one
step later; only the network's input arrives at once. A network with hop delays runs in the chip's time: its
outputs come as late as the chip's, and where paths of unequal length meet (behind a residual block), events
meet in the steps in which they do on the chip.
"""

import copy
from collections.abc import Iterator

from torch import nn

from snnkit.dag import DagModule, InnerVertex
from snnkit.nn.graph_of import graph_of
from snnkit.nn.modules.lif_base import LIFBaseTorch
from snnkit.nn.modules.module import TorchModule
from snnkit.utilities.errors import ConfigurationError

__all__ = ["count_hops", "with_hop_delays"]


def with_hop_delays(net: TorchModule) -> TorchModule:
    """Return a copy of ``net`` in which events reach the next layer of neurons one step later.

    ``LIFTorch.hop_delay`` is set in all neurons that have others behind them; outputs leave the network
    without delay. For a chain of layers without biases the output is that of ``net``, shifted by
    :func:`count_hops` steps; biases act from the first step on, as they do on the chip.
    Mapping knows the delay as the chip's own: nothing is delayed twice.

    Args:
        net: a network with a graph, not patched by transforms.

    Raises:
        ConfigurationError: the network has no graph, or neurons that its graph has are not its own.
    """
    copied = copy.deepcopy(net)
    graph = graph_of(copied).flatten()
    own = {id(module) for module in nn.Module.modules(copied)}
    for vertex in _hidden(graph):
        if id(vertex.module) not in own:
            raise ConfigurationError(
                f"{vertex.name}: the graph has these neurons, but the network has not. Set hop delays before "
                "transforms are applied."
            )
        vertex.module.hop_delay = True  # type: ignore[assignment]
    return copied


def count_hops(net: TorchModule) -> int:
    """Return from how many layers to a next one events go, on the longest path through ``net``.

    By so many steps the outputs of a chip, and of ``with_hop_delays(net)``, come late.

    Raises:
        ConfigurationError: the network has no graph.
    """
    graph = graph_of(net).flatten()
    neurons: dict[str, int] = {vertex.name: 0 for vertex in graph.input_vertices}
    for vertex in graph.inner_vertices:
        above = max((neurons[source.name] for source in vertex.predecessors), default=0)
        neurons[vertex.name] = above + isinstance(vertex.module, LIFBaseTorch)
    return max(max(neurons[vertex.name] for vertex in graph.output_vertices) - 1, 0)


def _hidden(graph: DagModule) -> Iterator[InnerVertex]:
    """Yield the vertices of neurons from which events go on to other neurons."""
    leads_on: set[str] = set()
    for vertex in reversed(graph.inner_vertices):
        if isinstance(vertex.module, LIFBaseTorch) and vertex.name in leads_on:
            yield vertex
        if isinstance(vertex.module, LIFBaseTorch) or vertex.name in leads_on:
            leads_on.update(source.name for source in vertex.predecessors)
