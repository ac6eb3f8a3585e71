"""The base of all modules: a ``torch.nn.Module`` with Rockpool's contract.

``output, state, record = module(data, record=False)`` with data ``(batch, time, channels)``; attributes are
declared as :class:`~snnkit.parameters.Parameter`, :class:`~snnkit.parameters.State` and
:class:`~snnkit.parameters.SimulationParameter`, grouped in families.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from snnkit.nn.modules.attributes import initial_value, value_of
from snnkit.nn.modules.batching import as_batch, batched_state
from snnkit.nn.modules.printing import described
from snnkit.nn.modules.store import DeclaringModule, write_data
from snnkit.nn.modules.trees import (
    TorchModuleParameters,
    attribute_tree,
    children_of,
    named_attribute_tree,
)
from snnkit.utilities.errors import ShapeError, SnnkitError, unknown_key_message

if TYPE_CHECKING:
    from pathlib import Path

    from snnkit.dag import DagModule

__all__ = ["TorchModule", "UnexpectedArgumentError"]

Triple = tuple[Tensor, dict[str, Any], dict[str, Any]]
_CALL_LENGTH = 3


class UnexpectedArgumentError(SnnkitError, TypeError):
    """A constructor was given a keyword that it does not have."""


class TorchModule(DeclaringModule):
    """Base of all modules; a subclass declares its attributes and writes ``forward(data) -> Tensor``.

    ``forward`` may put tensors into ``self._record_dict`` when ``self._record`` is set; the call hands them
    to the user and keeps nothing. Every method of ``torch.nn.Module`` works as in torch but
    ``parameters()`` and ``modules()``, which return trees; :meth:`to_torch` gives those two back.

    Args:
        shape: number of channels ``N``, ``(N,)`` or ``(size_in, size_out)``; None for a size not known.
        spiking_input: whether the input consists of events.
        spiking_output: whether the output consists of events.
        retain_torch_api: behave towards the caller as a plain torch module, as after :meth:`to_torch`.

    Raises:
        UnexpectedArgumentError: for any other keyword argument.

    Example:
        >>> from snnkit.parameters import Parameter, State
        >>> class Leaky(TorchModule):
        ...     def __init__(self, size: int) -> None:
        ...         super().__init__(size)
        ...         self.decay = Parameter(shape=(size,), family="decays", init_func=torch.ones)
        ...         self.level = State(shape=(size,), init_func=torch.zeros)
        ...
        ...     def forward(self, data: Tensor) -> Tensor:
        ...         data, (level,) = self._auto_batch(data, (self.level,))
        ...         levels = []
        ...         for step in data.unbind(1):
        ...             level = level * self.decay + step
        ...             levels.append(level)
        ...         self._keep_states(level=level)
        ...         return torch.stack(levels, 1)
        >>> module = Leaky(2)
        >>> output, state, record = module(torch.ones(1, 3, 2))
        >>> state["level"]
        tensor([3., 3.])
        >>> list(module.parameters("decays"))
        ['decay']
    """

    _record: bool
    _record_dict: dict[str, Any]

    def __init__(
        self,
        shape: int | Sequence[int | None] | None = None,
        spiking_input: bool = False,
        spiking_output: bool = False,
        retain_torch_api: bool = False,
        **unknown: Any,
    ) -> None:
        if unknown:
            known = ("shape", "spiking_input", "spiking_output", "retain_torch_api")
            lines = [unknown_key_message("keyword argument", key, known) for key in unknown]
            raise UnexpectedArgumentError(f"{type(self).__name__}: " + " ".join(lines))
        super().__init__()
        self._set_up(shape, spiking_input, spiking_output, retain_torch_api)

    def _set_up(
        self,
        shape: int | Sequence[int | None] | None,
        spiking_input: bool,
        spiking_output: bool,
        retain_torch_api: bool,
    ) -> None:
        sizes = shape if isinstance(shape, Sequence) else (shape,)
        self._shape = tuple(None if size is None else int(size) for size in sizes)
        if not self._shape or any(size is not None and size < 0 for size in self._shape):
            raise ShapeError(f"{type(self).__name__}: {shape} is no shape of a module.")
        self._spiking_input = bool(spiking_input)
        self._spiking_output = bool(spiking_output)
        self._name = ""
        self._registry = {}
        self._record = False
        self._record_dict = {}
        self._torch_api = retain_torch_api
        self._torch_call = retain_torch_api

    # --- What the module is ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name under which the parent holds this module, in quotes; empty without a parent."""
        return f"'{self._name}'" if self._name else ""

    @property
    def class_name(self) -> str:
        """Name of the class."""
        return type(self).__name__

    @property
    def full_name(self) -> str:
        """Class name and :attr:`name`."""
        return f"{self.class_name} {self.name}"

    @property
    def shape(self) -> tuple[int | None, ...]:
        """``(size,)`` or ``(size_in, size_out)``; None for a size not known."""
        return self._shape

    @property
    def size_in(self) -> int | None:
        """Number of input channels."""
        return self._shape[0]

    @property
    def size_out(self) -> int | None:
        """Number of output channels."""
        return self._shape[-1]

    @property
    def spiking_input(self) -> bool:
        """Whether the input consists of events."""
        return self._spiking_input

    @property
    def spiking_output(self) -> bool:
        """Whether the output consists of events."""
        return self._spiking_output

    def as_graph(self) -> "DagModule":
        """Return the computational graph: one vertex, which holds this module."""
        from snnkit.dag import DagModule

        graph = DagModule(self.class_name)
        data = graph.add_input_vertex("input")
        vertex = graph.add_vertex(self._name or self.class_name, self, [data])
        graph.mark_as_output(vertex)
        return graph

    def __repr__(self) -> str:
        return super().__repr__() if self._torch_api else described(self, self._name)

    # --- Trees ----------------------------------------------------------------------------------

    def parameters(  # type: ignore[override]
        self, family: str | Sequence[str] | bool | None = None, recurse: bool | None = None
    ) -> TorchModuleParameters | Iterator[nn.Parameter]:
        """Return the tree of parameters: attribute name -> parameter, submodule name -> its tree.

        Args:
            family: only parameters of this family, or of these; ``"bias"`` and ``"biases"`` are one.
            recurse: torch's argument, also as the first one; with it the answer is torch's, an iterator.
        """
        if isinstance(family, bool):
            family, recurse = None, family
        if self._torch_api or recurse is not None:
            return super().parameters(recurse is None or recurse)
        return attribute_tree(self, "Parameter", family)

    def state(self, family: str | Sequence[str] | None = None) -> TorchModuleParameters:
        """Return the tree of states; after a call with a batch they have a batch axis in front."""
        return attribute_tree(self, "State", family)

    def simulation_parameters(self, family: str | Sequence[str] | None = None) -> TorchModuleParameters:
        """Return the tree of simulation parameters, constants included."""
        return attribute_tree(self, "SimulationParameter", family)

    def attributes_named(self, name: str | Sequence[str]) -> TorchModuleParameters:
        """Return the tree of all attributes, at any depth, that have this name, or one of these."""
        return named_attribute_tree(self, (name,) if isinstance(name, str) else tuple(name))

    def modules(self) -> "OrderedDict[str, nn.Module] | Iterator[nn.Module]":  # type: ignore[override]
        """Return the direct submodules by name (``named_modules()`` is torch's walk through all)."""
        if self._torch_api:
            return super().modules()
        return OrderedDict(children_of(self))

    # --- Calling --------------------------------------------------------------------------------

    def __call__(self, input_data: Any, record: bool = False) -> Any:
        """Evolve over ``input_data``; see :meth:`evolve`.

        A triple that another module returned is taken as well: its element 0 is the input, and this module's
        state and record are added to its dictionaries under this module's name.
        """
        if self._torch_call:
            return super().__call__(input_data)
        if not isinstance(input_data, tuple):
            return self.evolve(input_data, record)
        if len(input_data) != _CALL_LENGTH:
            raise ShapeError(
                f"{self._label}: a tuple as input must be (output, state, record), "
                f"but has {len(input_data)} elements."
            )
        data, state, recorded = input_data
        output, new_state, new_recorded = self.evolve(data, record)
        return output, {**state, self.name: new_state}, {**recorded, self.name: new_recorded}

    def evolve(self, input_data: Any, record: bool = False) -> Triple:
        """Evolve over data ``(batch, time, channels)``.

        Args:
            input_data: also ``(time, channels)`` or ``(time,)``; a single channel is repeated for all.
            record: whether to return what the module records over time.

        Returns:
            output ``(batch, time, size_out)``, the tree of states, the dictionary of recordings.

        Raises:
            ShapeError: the input does not fit this module or its stored state.
        """
        output, recorded = self._run(input_data, record)
        return output, self.state(), recorded

    def _run(self, input_data: Any, record: bool) -> tuple[Tensor, dict[str, Any]]:
        """Return output and recordings only: what a container wants of its children."""
        own = self.__dict__  # past the checks on assignment, as these two are no attributes of the model
        own["_record"], own["_record_dict"] = record, {}
        try:
            return super().__call__(input_data), self._record_dict
        finally:
            # A kept recording would hold the autograd graph, and no such module could be copied.
            own["_record"], own["_record_dict"] = False, {}

    def _auto_batch(
        self,
        data: Tensor,
        states: Sequence[Tensor] = (),
        target_shapes: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return data as ``(batch, time, size_in)`` and each state with that batch axis.

        ``target_shapes`` are the shapes of the states without a batch; the declared ones by default.
        """
        own = (*self._parameters.values(), *self._buffers.values())
        like = next((value for value in own if value is not None and value.is_floating_point()), None)
        data = as_batch(data, self.size_in, self._label, like)
        if target_shapes is None:
            shapes = {id(self._buffers[name]): attribute.shape for name, attribute in self._registry.items()
                      if attribute.kind == "State"}  # fmt: skip
            target_shapes = [shapes.get(id(state), tuple(state.shape)) for state in states]
        pairs = zip(states, target_shapes, strict=True)
        return data, tuple(batched_state(state, shape, len(data), self._label) for state, shape in pairs)

    def _states_for(self, batch: int, *names: str) -> tuple[Tensor, ...]:
        """Return the stored states named, each ``(batch, *declared shape)``."""
        shapes = {name: self._registry[name].shape for name in names}
        return tuple(
            batched_state(self._state_buffer(name), shape, batch, self._label)
            for name, shape in shapes.items()
        )

    def _keep_states(self, **states: Tensor) -> None:
        """Store final states ``(batch, *declared shape)``, detached; a batch of one loses its batch axis."""
        for name, state in states.items():
            kept, like = state.detach(), self._state_buffer(name)
            if kept.ndim > len(self._registry[name].shape) and len(kept) == 1:
                kept = kept[0]
            # A copy, as a view would hold on to the whole sequence.
            self._buffers[name] = kept.to(dtype=like.dtype, device=like.device, copy=True)

    # --- Resetting, copying, torch's own methods ------------------------------------------------

    def reset_state(self) -> Self:
        """Set all states back, here and below, to their initial values and declared shapes."""
        for name, attribute in self._registry.items():
            if attribute.kind == "State":
                value = initial_value(attribute, f"{self._label}.{name}")
                self._buffers[name] = value_of(attribute, value, like=self._buffers[name])
        for _, child in children_of(self):
            _for_nearest_modules(child, TorchModule.reset_state)
        return self

    def reset_parameters(self) -> Self:
        """Initialise all parameters anew, here and below; the ``Parameter`` objects stay the same."""
        for name, attribute in self._registry.items():
            if attribute.kind == "Parameter":
                value = initial_value(attribute, f"{self._label}.{name}")
                write_data(self._parameters[name], value_of(attribute, value, like=self._parameters[name]))
        for _, child in children_of(self):
            _reset_child_parameters(child)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters, as in torch."""
        for parameter in super().parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = torch.zeros_like(parameter.grad)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switch the gradients of all parameters on or off, as in torch."""
        for parameter in super().parameters():
            parameter.requires_grad_(requires_grad)
        return self

    # --- Files and plain torch ------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return all that this module is, as a dictionary that JSON can hold.

        Raises:
            ConfigurationError: an attribute is a function without a registered name.
        """
        from snnkit.nn.modules.json_io import module_to_json

        return module_to_json(self)

    def save(self, filename: "str | Path") -> None:
        """Write parameters, states and simulation parameters to a versioned JSON file.

        Raises:
            ConfigurationError: an attribute is a function without a registered name.
        """
        from snnkit.nn.modules.json_io import save_module

        save_module(self, filename)

    def load(self, filename: "str | Path") -> Self:
        """Restore what :meth:`save` wrote from a module of the same classes and shapes; return the module.

        Raises:
            FileFormatError: the file is damaged or of another module; this module is then unchanged.
        """
        from snnkit.nn.modules.json_io import load_module

        load_module(self, filename)
        return self

    def to_torch(self, use_torch_call: bool = True) -> Self:
        """Let this instance behave as a plain torch module; return it.

        ``parameters()``, ``modules()`` and ``repr`` become torch's, here and below; with ``use_torch_call``
        calling this instance returns only the output.
        """
        for module in nn.Module.modules(self):
            if isinstance(module, TorchModule):
                module._torch_api = True
        self._torch_call = use_torch_call
        return self

    @staticmethod
    def from_torch(obj: nn.Module, retain_torch_api: bool = False) -> "TorchModule":
        """Turn a plain torch module, in place, into a TorchModule of shape ``(None,)``; return it."""
        from snnkit.nn.modules.conversion import convert

        return convert(obj, retain_torch_api)


def _for_nearest_modules(module: nn.Module, action: Callable[[TorchModule], Any]) -> None:
    """Apply an action to the module, or, under a plain torch module, to the nearest TorchModules."""
    if isinstance(module, TorchModule):
        action(module)
    else:
        for _, child in children_of(module):
            _for_nearest_modules(child, action)


def _reset_child_parameters(child: nn.Module) -> None:
    reset = getattr(child, "reset_parameters", None)
    if callable(reset):
        reset()
    else:
        for _, grandchild in children_of(child):
            _reset_child_parameters(grandchild)
