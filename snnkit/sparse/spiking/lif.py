"""LIF neurons with sparse recurrent weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.functional import LIFDynamics
from snnkit.nn.modules.attributes import Attribute
from snnkit.nn.modules.declarations import FloatVector, kaiming_uniform, real, spike_generation, value_or_none
from snnkit.nn.modules.lif import LIFTorch
from snnkit.nn.surrogates import StepPWL
from snnkit.parameters import SimulationParameter
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.spiking.holder import SparseSpiking
from snnkit.sparse.spiking.lif_function import sparse_lif
from snnkit.sparse.synapses import Synapses, new_synapses

__all__ = ["SparseLIFTorch"]


class SparseLIFTorch(SparseSpiking, LIFTorch):
    """``LIFTorch`` with sparse recurrent weights: an event reads the synapses of the neuron that fired.

    Backward, only neurons with a surrogate slope read theirs. The weights are in ``synapses.values``, one
    number for each, row by row of ``(N, N * S)``; :attr:`w_rec` is a dense view of them. Events are
    bit for bit those of ``LIFTorch`` with zeros elsewhere, gradients equal but for rounding.

    Args:
        shape: as for ``LIFTorch``, as are all arguments up to ``relative_window`` but for ``has_rec``:
            neurons without recurrent weights are ``LIFTorch``.
        w_rec: ``(N, N * S)``; without a mask or density its zeros are no synapses.
        mask: bool ``(N, N * S)``: which synapses there are.
        density: share of the synapses that there are, at random places; all by default.
        generator: for places and weights.

    Raises:
        ShapeError, ParameterError: as ``LIFTorch``.
        SparsityError: the weights or the mask have another shape; nothing is left; a mask and a density.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> neurons = SparseLIFTorch(100, density=0.05, generator=generator)
        >>> output, state, record = neurons(torch.ones(1, 20, 100))
        >>> neurons.synapses.nnz, list(neurons.parameters("weights"))
        (500, ['synapses'])
    """

    _matrix = "w_rec"

    def __init__(  # noqa: PLR0917 - the order of LIFTorch
        self,
        shape: int | tuple[int, ...],
        leak_mode: str = "taus",
        tau_mem: FloatVector | None = None,
        tau_syn: FloatVector | None = None,
        alpha: FloatVector | None = None,
        beta: FloatVector | None = None,
        dash_mem: FloatVector | None = None,
        dash_syn: FloatVector | None = None,
        bias: FloatVector | None = None,
        threshold: FloatVector | None = None,
        w_rec: FloatVector | None = None,
        noise_std: float = 0.0,
        spike_generation_fn: Any = StepPWL,
        learning_window: float = 0.5,
        max_spikes_per_dt: float = 2.0**16,
        weight_init_func: Callable[[tuple[int, ...]], Tensor] | None = None,
        dt: float = 1e-3,
        spiking_input: bool = True,
        spiking_output: bool = True,
        retain_torch_api: bool = False,
        hop_delay: bool = False,
        relative_window: bool = False,
        *,
        mask: Tensor | None = None,
        density: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        LIFTorch.__init__(
            self, shape, leak_mode, tau_mem, tau_syn, alpha, beta, dash_mem, dash_syn, bias, threshold,
            False, None, noise_std, spike_generation_fn, learning_window, max_spikes_per_dt, kaiming_uniform,
            dt, spiking_input, spiking_output, retain_torch_api, hop_delay, relative_window,
        )  # fmt: skip
        matrix = (self.n_neurons, self.n_neurons * self.n_synapses)
        given = value_or_none(w_rec)
        if given is None and weight_init_func is not None:
            given = weight_init_func(matrix)
        weight = None if given is None else real(given)
        self.synapses = new_synapses(matrix, "w_rec", weight, mask, density, generator)
        self._has_rec = SimulationParameter(True)

    @classmethod
    def from_dense(cls, module: LIFTorch, mask: Tensor | None = None) -> "SparseLIFTorch":
        """Return the sparse twin of a recurrent ``LIFTorch``; tensors are copied.

        Args:
            module: stays as it is.
            mask: which recurrent weights stay; by default those that are not zero.

        Raises:
            SparsityError: the module has no recurrent weights.
        """
        weight = module.w_rec
        if weight is None:
            raise SparsityError(f"{module._label} has no recurrent weights that could be sparse.")
        synapses = new_synapses(tuple(weight.shape), "w_rec", weight, mask, None, None)
        synapses.values.requires_grad_(weight.requires_grad)
        return cls.of_synapses(module, synapses)

    @classmethod
    def of_synapses(cls, neurons: LIFTorch, synapses: Synapses) -> "SparseLIFTorch":
        """Return a copy of neurons with these recurrent synapses, which are not copied."""
        twin: SparseLIFTorch = _emptied(neurons, cls)
        twin._registry.pop("w_rec", None)
        twin.synapses = synapses
        twin._has_rec = SimulationParameter(True)
        return twin

    def to_dense(self) -> LIFTorch:
        """Return the dense twin, with zeros where there is no synapse; tensors are copied."""
        weight = self.synapses.dense_weight().detach()
        twin: LIFTorch = _emptied(self, LIFTorch)
        shape = (weight.shape[0], weight.shape[1])
        entry = Attribute("Parameter", "weights", kaiming_uniform, shape, (shape,), True)
        parameter = nn.Parameter(weight.clone(), self.synapses.values.requires_grad)
        # In the place where the dense module declares it, which is the order of its parameters.
        twin._registry = {
            key: found
            for name, known in twin._registry.items()
            for key, found in ((name, known), ("w_rec", entry))
            if name in (key, "_has_rec")
        }
        twin._parameters = {"w_rec": parameter, **twin._parameters}
        return twin

    @property
    def w_rec(self) -> Tensor:
        """The dense view ``(N, N * S)``."""
        return self.synapses.dense_weight()

    def _dynamics(self) -> LIFDynamics:
        return LIFDynamics(self.alpha, self.beta, self.bias, spike_generation(self))

    def forward(self, data: Tensor) -> Tensor:
        """Evolve over ``(batch, time, N * S)``; return the events ``(batch, time, N)``."""
        data, _ = self._auto_batch(data)
        before = self._initial_state(len(data))
        spikes, state, self._record_dict = sparse_lif(
            data, before, self._dynamics(), self.synapses, self._noise(data), self._record
        )
        self._keep_states(vmem=state.vmem, isyn=state.isyn, spikes=state.spikes)
        return self._sent(spikes, before)


def _emptied(module: LIFTorch, cls: type[LIFTorch]) -> Any:
    """Return a copy of neurons as another class, without their recurrent weights."""
    kept = {
        store: {name: value for name, value in module.__dict__[store].items() if name not in gone}
        for store, gone in (("_parameters", {"w_rec"}), ("_modules", {"synapses"}))
    }
    twin = cls.__new__(cls)
    twin.__dict__.update(copy.deepcopy({**module.__dict__, **kept}))
    return twin
