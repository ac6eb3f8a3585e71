"""Teleportation behind the interface of the neural-teleportation project (Armenta et al. 2020).

Its names and arguments, on any module: operations in ``forward``, modules used twice, additions in any order,
grouped convolutions. Parameters are changed in place, so that optimisers stay valid, and the network's
``state_dict`` is that of the plain class.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport.activations import with_scaled_activations
from snnkit.teleport.alignment import aligning_basis
from snnkit.teleport.assignment import matching_permutations
from snnkit.teleport.change_of_basis import Basis
from snnkit.teleport.derivatives import Loss, gradient, hessian, hessian_trace
from snnkit.teleport.element import Element, identity
from snnkit.teleport.equalisation import canonical_element
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.history import History
from snnkit.teleport.sampling import random
from snnkit.teleport.symmetries import symmetries
from snnkit.teleport.weights import Weights

__all__ = ["NeuralTeleportationModel"]

Flat = Tensor | Sequence[Tensor]


class NeuralTeleportationModel(nn.Module):
    """A network that can be teleported.

    A change of basis (CoB) is one number for each hidden channel that may have one: a factor for channels
    that run through homogeneous functions, 1 or -1 for those before odd ones (tanh). Channels tied by
    additions have one number; inputs, outputs and what no factor passes have none. Nothing is wrapped
    unless ``scale_activations`` asks for it.

    Args:
        network: Any module; it is held, not copied.
        input_shape: Of an input, with the batch: ``(1, 3, 32, 32)``.
        example_inputs: Instead of a shape: a tensor, or the positional arguments.
        batch_norm: As for :func:`~snnkit.teleport.symmetries`.
        scale_activations: Take a graph of the network with copies of its parameters in which activations that
            let no factor pass (tanh, GELU) are scaled ones, so that all their channels have one; see
            :func:`~snnkit.teleport.with_scaled_activations`. Their factors are buffers of the graph.

    Attributes:
        network: The module that was given, or its graph with scaled activations.
        basis: What the numbers of a CoB stand for.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> model = NeuralTeleportationModel(net, input_shape=(1, 4))
        >>> x = torch.randn(3, 4)
        >>> before, weights = model(x), model.get_weights()
        >>> after = model.random_teleport(cob_range=0.9)(x)
        >>> torch.allclose(after, before, atol=1e-6)
        True
        >>> torch.equal(model.undo_teleportation().get_weights(), weights)
        True
    """

    def __init__(
        self,
        network: nn.Module,
        input_shape: Sequence[int] | None = None,
        *,
        example_inputs: Any = None,
        batch_norm: str = "statistics",
        scale_activations: bool = False,
    ) -> None:
        super().__init__()
        if (input_shape is None) == (example_inputs is None):
            raise TeleportError("Give either input_shape or example_inputs.")
        if input_shape is not None:
            like = next(network.parameters(), torch.zeros(()))
            example_inputs = torch.zeros(tuple(input_shape), dtype=like.dtype, device=like.device)
        if scale_activations:
            network = with_scaled_activations(network, example_inputs)
        self.network = network
        self._example = example_inputs
        self._batch_norm = batch_norm
        self.basis = Basis(symmetries(network, example_inputs, batch_norm=batch_norm))
        self._weights = Weights(network)
        self._cob: Tensor = self.basis.ones()
        self._history = History(network, identity(self.basis.symmetries))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network."""
        return self.network(*args, **kwargs)

    # --- Teleporting --------------------------------------------------------------------------------------

    def random_teleport(
        self,
        cob_range: float = 0.5,
        sampling_type: str = "intra_landscape",
        reset_teleportation: bool = True,
        center: float = 1,
        generator: torch.Generator | None = None,
    ) -> "NeuralTeleportationModel":
        """Teleport by a random CoB; arguments as for :meth:`generate_random_cob` and :meth:`teleport`."""
        cob = self.generate_random_cob(cob_range, sampling_type, center=center, generator=generator)
        return self.teleport(cob, reset_teleportation)

    def teleport(
        self,
        cob: Flat,
        reset_teleportation: bool = True,
        permutations: Mapping[str, Tensor] | None = None,
    ) -> "NeuralTeleportationModel":
        """Change the weights by a CoB; the function stays.

        Args:
            cob: ``(get_cob_size(),)``, or what :meth:`get_cob` returns without ``concat``.
            reset_teleportation: Whether this CoB is the only one that :meth:`get_cob` returns and
                :meth:`undo_teleportation` takes back; else it is multiplied onto those before.
            permutations: Orders of channels that come first, as :meth:`calculate_cob` returns them.

        Raises:
            TeleportError: it is no CoB of this network; nothing was changed.
        """
        flat = self._joined(cob)
        element = self.basis.element(flat)
        if permutations:
            element = self.basis.symmetries.element(permutations=permutations).then(element)
        self._history.do(element, alone=reset_teleportation)
        self._cob = flat.detach() if reset_teleportation else self._cob * flat.detach()
        return self

    def undo_teleportation(self) -> "NeuralTeleportationModel":
        """Take the teleportation back.

        Parameters that nothing has changed since get back the very bits they had before; those that were
        trained are divided by their factors.
        """
        self._history.undo()
        self._cob = self.basis.ones()
        return self

    def set_change_of_basis(self, cob: Flat, contain_ones: bool = False) -> None:
        """Set the CoB that :meth:`teleport_weights` will use; weights stay as they are.

        It may require gradients: ``get_weights(get_proxy_weight=True)`` then differentiates through it.
        """
        self._cob = self._joined(cob, contain_ones)

    def teleport_weights(self) -> "NeuralTeleportationModel":
        """Teleport by the CoB set before. Nothing has to be done to activations: none is wrapped."""
        return self.teleport(self._cob)

    def initialize_cob(self) -> None:
        """Forget the teleportation: the present weights are those that nothing was done to."""
        self._cob = self.basis.ones()
        self._history.forget()

    def generate_random_cob(
        self,
        cob_range: float = 0.5,
        sampling_type: str = "intra_landscape",
        requires_grad: bool = False,
        center: float = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw a CoB.

        Args:
            cob_range: Range ``s`` of the factors.
            sampling_type: ``intra_landscape`` (uniform in 1 +- s), ``inter_landscape`` (half around 1, half
                around -1), ``positive``, ``negative``, ``centered`` (around ``center``) or ``powers_of_two``.
                Channels that cannot change their signs, as before ReLU, take the absolute values.
            requires_grad: Of the vector returned.
            center: For ``centered``.
            generator: Source of random numbers.
        """
        element = random(self.basis.symmetries, cob_range, sampling_type, center=center, generator=generator)
        return self.basis.flat(element).requires_grad_(requires_grad)

    # --- The change of basis ------------------------------------------------------------------------------

    def get_cob(self, concat: bool = True, contain_ones: bool = False) -> Tensor | list[Tensor]:
        """Return the CoB that the weights are in, float64.

        Args:
            concat: One vector; else one for each layer that makes channels.
            contain_ones: With the ones of inputs, before, and outputs, behind.
        """
        parts = [self._cob[entry.span] for entry in self.basis.entries]
        if contain_ones:
            before, after = self._ones()
            parts = [before, *parts, after]
        return torch.cat([torch.empty(0, dtype=torch.float64), *parts]) if concat else parts

    def get_cob_size(self, contain_ones: bool = False) -> int:
        """Return the length of a CoB."""
        return self.basis.size + (sum(map(len, self._ones())) if contain_ones else 0)

    def _ones(self) -> tuple[Tensor, Tensor]:
        tape = self.basis.symmetries.tape
        counts = [sum(_channels(value.shape) for value in values) for values in (tape.inputs, tape.outputs)]
        before, after = (torch.ones(count, dtype=torch.float64) for count in counts)
        return before, after

    def _joined(self, cob: Flat, contain_ones: bool = False) -> Tensor:
        flat = cob if isinstance(cob, Tensor) else torch.cat([part.reshape(-1) for part in cob])
        if contain_ones:
            before, after = (len(part) for part in self._ones())
            flat = flat[before : len(flat) - after]
        return self.basis.checked(flat)

    @property
    def element(self) -> Element:
        """The group element that :meth:`undo_teleportation` would take back."""
        return self._history.element

    # --- Weights ------------------------------------------------------------------------------------------

    def get_neuron_layers(self) -> list[nn.Module]:
        """Return the modules that hold parameters, in their order."""
        return self._weights.layers()

    def get_weights(
        self,
        concat: bool = True,
        flatten: bool = True,
        bias: bool = True,
        ignore_bn: bool = False,
        get_proxy_weight: bool = False,
    ) -> Tensor | list[Tensor]:
        """Return the parameters.

        Args:
            concat: One vector; else one tensor for each parameter.
            flatten: Without ``concat``, whether the tensors are vectors.
            bias: With those called ``bias``.
            ignore_bn: Without those of batch normalisations.
            get_proxy_weight: What they become under the CoB set by :meth:`set_change_of_basis`, as a
                differentiable function of it and of the parameters; else detached copies.

        Raises:
            TeleportError: ``concat`` without ``flatten``.
        """
        if concat and not flatten:
            raise TeleportError("concat=True joins vectors: it needs flatten=True.")
        names = self._weights.names(bias=bias, ignore_bn=ignore_bn)
        held = self._weights.parameters
        if get_proxy_weight:
            proxies = self._proxies()
            found = [proxies.get(name, held[name]) for name in names]
        else:
            found = [held[name].detach().clone() for name in names]
        if flatten:
            found = [tensor.reshape(-1) for tensor in found]
        return torch.cat(found) if concat else found

    def _proxies(self) -> dict[str, Tensor]:
        held = self._weights.parameters
        factors = self.basis.symmetries.log_factors(self.basis.log_scales(self._cob))
        signs = self.basis.element(self._cob.detach().sign()).changes()
        found = {
            name: held[name] * factor.exp().to(held[name]) for name, factor in factors.items() if name in held
        }
        for name, change in signs.items():
            if name in held:
                found[name] = found.get(name, held[name]) * change.factor.to(held[name])
        return found

    def set_weights(self, weights: Flat) -> None:
        """Set all parameters, in place, from a vector or from tensors in the order of :meth:`get_weights`.

        Raises:
            TeleportError: the number of values is not that of the parameters.
        """
        self._weights.set(weights)

    def get_params(self, concat: bool = True, bias: bool = True) -> tuple[Any, Any]:
        """Return the weights and the CoB that they are in."""
        return self.get_weights(concat=concat, bias=bias), self.get_cob(concat=concat)

    def set_params(self, weights: Flat, cob: Flat) -> None:
        """Set the weights, and the CoB that they are in: :meth:`undo_teleportation` divides by it."""
        flat = self._joined(cob)
        self.set_weights(weights)
        self._cob = flat.detach()
        self._history.set(self.basis.element(flat))

    def init_like_histogram(self, bins: int = 50, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew from the histogram of its own values, in place."""
        self._weights.resample(bins, generator)
        self.initialize_cob()

    def reset_weights(self) -> None:
        """Initialise all layers anew, as their classes do, and forget the teleportation."""
        self._weights.reset()
        self.initialize_cob()

    # --- Derivatives --------------------------------------------------------------------------------------

    def get_grad(
        self, data: Any, target: Any, loss_fn: Loss, concat: bool = True, zero_grad: bool = True
    ) -> Tensor | list[Tensor]:
        """Return the gradient of ``loss_fn(self(data), target)``, in the order of :meth:`get_weights`.

        Args:
            data, target: A batch.
            loss_fn: Of outputs and targets.
            concat: One vector; else one tensor for each parameter, flattened.
            zero_grad: Begin with gradients of zero. They are left in the parameters; without it the gradient
                is added to what is there, and the sum returned.
        """
        held = list(self._weights.parameters.values())
        found = gradient(self.network, held, data, target, loss_fn)
        for parameter, own in zip(held, found, strict=True):
            before = None if zero_grad else parameter.grad
            parameter.grad = own.clone() if before is None else before + own
        grads = [parameter.grad.reshape(-1).clone() for parameter in held if parameter.grad is not None]
        return torch.cat(grads) if concat else grads

    def get_hessian(self, data: Any, target: Any, loss_fn: Loss) -> Tensor:
        """Return the second derivatives by all parameters, ``(n, n)``."""
        return hessian(self.network, self._weights.as_named(), data, target, loss_fn)

    def get_hessian_trace(
        self,
        data: Any,
        target: Any,
        loss_fn: Loss,
        samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> float:
        """Return the trace of the Hessian: exact, or estimated from so many random vectors (Hutchinson)."""
        held = self._weights.as_named()
        return hessian_trace(self.network, held, data, target, loss_fn, samples=samples, generator=generator)

    def get_layer_hessians(self, data: Any, target: Any, loss_fn: Loss) -> dict[str, Tensor]:
        """Return the second derivatives by the parameters of each layer, by its path."""
        return {
            path: hessian(self.network, own, data, target, loss_fn)
            for path, own in self._weights.by_layer().items()
        }

    def get_layer_hessian_traces(self, data: Any, target: Any, loss_fn: Loss) -> dict[str, float]:
        """Return the trace of the Hessian of each layer, by its path."""
        return {
            path: hessian_trace(self.network, own, data, target, loss_fn)
            for path, own in self._weights.by_layer().items()
        }

    # --- Between two networks -----------------------------------------------------------------------------

    def calculate_cob(
        self,
        initial_weights: Flat,
        target_weights: Flat,
        concat: bool = True,
        eta: float = 1.0,
        steps: int = 100,
        *,
        permutations: bool = False,
    ) -> Any:
        """Return the CoB that takes one set of weights to another, or as close as it gets.

        Args:
            initial_weights, target_weights: As :meth:`get_weights` returns them.
            concat: As for :meth:`get_cob`.
            eta, steps: Step length and number of the descent that follows where no teleport takes the one to
                the other; the solution channel by channel needs none.
            permutations: Also look for the order of channels: returns the CoB and the orders, for
                ``teleport(cob, permutations=orders)``.
        """
        source, target = (self._weights.unpacked(w) for w in (initial_weights, target_weights))
        buffers = {n: t for n, t in named_tensors(self.network).items() if n not in source}
        orders: dict[str, Tensor] = {}
        if permutations:
            orders = self._orders(buffers | source, buffers | target)
            source |= self.basis.symmetries.element(permutations=orders).apply(buffers | source)
        cob = aligning_basis(self.basis, buffers | source, target, eta=eta, steps=steps)
        found = cob if concat else [cob[entry.span] for entry in self.basis.entries]
        return (found, orders) if permutations else found

    def _orders(self, source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Match channels where neither scales nor signs tell nets apart: in canonical scales."""
        forms = []
        for tensors in (source, target):
            with self._weights.replaced(tensors):
                element = canonical_element(
                    self.network, self._example, batch_norm=self._batch_norm, permutations=False
                )
                forms.append(tensors | element.apply(tensors))
        return matching_permutations(self.basis.symmetries, *forms)


def _channels(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) > 1 else 1
