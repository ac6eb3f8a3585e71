"""The symmetries of a model: which channels may take a factor, a sign, another order."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snnkit.dag.analysis.recording import record
from snnkit.dag.analysis.tape import Tape
from snnkit.dag.channels import Coupling, Group, coupling_of_tape
from snnkit.dag.scales import BATCH_NORMS, Scales, scales_of_tape
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.factors import FactorTable
from snnkit.teleport.freedoms import Freedom, freedoms_of_groups, freedoms_of_scales
from snnkit.utilities.errors import unknown_key_message

if TYPE_CHECKING:
    from snnkit.teleport.element import Element

__all__ = ["Symmetries", "symmetries"]


class Symmetries:
    """What may be changed in the parameters of a model so that its function stays. Made by
    :func:`symmetries`.

    It knows names and shapes of the parameters, not their values, and fits every model that has them.

    Attributes:
        scales: Channels that may take positive factors.
        signs: Channels that may take the factor -1.
        permutations: Channels that may be brought into another order.
        coupling: Which channels belong together.
        batch_norm: What takes the factor of the input of a batch normalisation.
    """

    def __init__(self, tape: Tape, batch_norm: str) -> None:
        self.tape = tape
        self.batch_norm = batch_norm
        self.coupling: Coupling = coupling_of_tape(tape)
        self._positive: Scales = scales_of_tape(tape, "positive", batch_norm)
        self._sign: Scales = scales_of_tape(tape, "sign", batch_norm)
        self.scales, scaled = freedoms_of_scales(self._positive, "scale")
        self.signs, signed = freedoms_of_scales(self._sign, "sign")
        self._groups = freedoms_of_groups(self.coupling)
        self.permutations: tuple[Freedom, ...] = tuple(freedom for freedom, _ in self._groups.values())
        self.scale_table = FactorTable(self._positive, scaled)
        self.sign_table = FactorTable(self._sign, signed)

    @property
    def n_scales(self) -> int:
        """Number of free factors."""
        return self.scale_table.size

    @property
    def n_signs(self) -> int:
        """Number of free signs."""
        return self.sign_table.size

    @property
    def barriers(self) -> dict[str, int]:
        """Operations without a rule, which let no factor pass, and how often they occur."""
        return self._positive.barriers

    def freedom(self, kind: str, name: str) -> Freedom:
        """Return the freedom of a kind, "scale", "sign" or "permutation", called ``name``.

        Raises:
            TeleportError: There is none.
        """
        known = {"scale": self.scales, "sign": self.signs, "permutation": self.permutations}
        if kind not in known:
            raise TeleportError(unknown_key_message("kind of freedom", kind, known))
        found = {freedom.name: freedom for freedom in known[kind]}
        if name not in found:
            raise TeleportError(unknown_key_message(f"{kind} of this model", name, found))
        return found[name]

    def group(self, name: str) -> Group:
        """Return the group of channels behind the permutation called ``name``."""
        self.freedom("permutation", name)
        return self._groups[name][1]

    def why(self, name: str, axis: int = 0) -> tuple[str, ...]:
        """Say why channels on an axis of a parameter may take no factor; empty if all may.

        Raises:
            CouplingError: There is no such parameter or axis.
        """
        return tuple(self.coupling.explain(reason) for reason in self._positive.why(name, axis))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Paths of all parameters and buffers that some element changes."""
        touched = {*self.scale_table.parameters, *self.sign_table.parameters}
        touched.update(member for freedom in self.permutations for member, _ in freedom.members)
        return tuple(name for name in self.tape.parameters if name in touched)

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of all freedoms and of what each entry of a parameter takes of them.

        Elements fit models with equal ones.
        """
        shapes = {name: list(self.tape.parameters[name].shape) for name in self.names}
        freedoms = [
            [freedom.kind, freedom.name, freedom.size, [list(member) for member in freedom.members]]
            for freedom in (*self.scales, *self.signs, *self.permutations)
        ]
        tables = [self.scale_table.digest(), self.sign_table.digest()]
        text = json.dumps([self.batch_norm, shapes, freedoms, tables], sort_keys=True)
        digest = hashlib.sha256(text.encode())
        for _, group in self._groups.values():
            for member in group.members:
                digest.update(member.positions.astype("<i8").tobytes())
        return digest.hexdigest()

    # --- Factors and orders of parameters ---------------------------------------------------------------

    def log_factors(self, log_scales: Tensor) -> dict[str, Tensor]:
        """Return the logarithms of the factors that parameters take, by path, for those of the free factors.

        Gradients run through. Variances of batch normalisations, which take a factor only together with their
        epsilon, are left out.

        Args:
            log_scales: Natural logarithms, ``(n_scales,)``, in the order of :attr:`scales`.

        Returns:
            Tensors that broadcast against the parameters.
        """
        if log_scales.shape != (self.n_scales,):
            raise TeleportError(
                f"log_scales has shape {tuple(log_scales.shape)}, but there are {self.n_scales} free factors."
            )
        return self.scale_table.log_factors(log_scales)

    def orders(self, permutations: Mapping[str, Tensor]) -> dict[str, dict[int, NDArray[np.int64]]]:
        """Return, by parameter and axis, which index comes to each place."""
        found: dict[str, dict[int, NDArray[np.int64]]] = {}
        for name, order in permutations.items():
            moved = order.numpy()
            for member in self._groups[name][1].members:
                axes = found.setdefault(member.name, {})
                index = np.arange(member.length)
                index[member.positions] = member.positions[moved]
                before = axes.get(member.axis)
                axes[member.axis] = index if before is None else before[index]
        return found

    # --- Elements ---------------------------------------------------------------------------------------

    def flat(self, element: "Element") -> Tensor:
        """Return the factors of an element as one vector, ``(n_scales,)`` float64, in the order of
        :attr:`scales`.

        Raises:
            TeleportError: The element consists of more than factors, signs and one order of the channels.
        """
        chosen = element.scales
        return torch.cat([torch.empty(0, dtype=torch.float64), *(chosen[f.name] for f in self.scales)])

    def element(
        self,
        flat_scales: Tensor | None = None,
        flat_signs: Tensor | None = None,
        permutations: Mapping[str, Tensor] | None = None,
    ) -> "Element":
        """Return the element of these factors ``(n_scales,)``, signs ``(n_signs,)`` and orders by name.

        Raises:
            TeleportError: There are too many or too few, or they are no factors, signs or orders.
        """
        from snnkit.teleport.channels import ChannelPart
        from snnkit.teleport.element import Element

        part = ChannelPart(
            self,
            _parted(self.scales, flat_scales, "factors"),
            _parted(self.signs, flat_signs, "signs"),
            dict(permutations or {}),
        )
        return Element(self, (part,))

    def __repr__(self) -> str:
        from snnkit.teleport.printing import describe

        return describe(self)


def _parted(freedoms: Sequence[Freedom], flat: Tensor | None, what: str) -> dict[str, Tensor]:
    if flat is None:
        return {}
    size = sum(freedom.size for freedom in freedoms)
    if flat.shape != (size,):
        raise TeleportError(f"the {what} have shape {tuple(flat.shape)}, but the model takes ({size},).")
    pieces = flat.detach().split([freedom.size for freedom in freedoms])
    return {freedom.name: piece for freedom, piece in zip(freedoms, pieces, strict=True)}


def symmetries(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    batch_norm: str = "statistics",
) -> Symmetries:
    """Find the symmetries of a model: changes of its parameters that leave its function as it is.

    The model runs once, as a copy in evaluation mode and without memory for its tensors. What has no rule
    lets nothing pass, so that the answer stays correct.

    Args:
        model: Any module, or a :class:`~snnkit.dag.DagModule`; it is not changed.
        example_inputs: A tensor, or the positional arguments, for spiking models ``(batch, time, channels)``.
        example_kwargs: Keyword arguments.
        batch_norm: What takes the factor of the input of a batch normalisation: "statistics" (running mean
            and variance; equal up to rounding in evaluation, up to epsilon in training), "gain" (running mean
            and gain; evaluation only, but powers of two are exact to the bit), "fixed" (nothing; always
            exact).

    Raises:
        TapeError: The model does not run on these inputs.
        TeleportError: ``batch_norm`` is none of these.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> found = symmetries(model, torch.randn(1, 4))
        >>> [(freedom.name, freedom.size) for freedom in found.scales]
        [('0.weight', 8)]
        >>> found.why("2.weight")
        ('output 0 of the model',)
    """
    if batch_norm not in BATCH_NORMS:
        raise TeleportError(unknown_key_message("treatment of batch norm", batch_norm, BATCH_NORMS))
    return Symmetries(record(model, example_inputs, example_kwargs), batch_norm)
