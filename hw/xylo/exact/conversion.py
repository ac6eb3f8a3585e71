"""From a float network to a chip-exact one."""

import copy
from typing import Any, get_args

from torch import nn

from snnkit.nn.modules import TorchModule
from snnkit.transforms.chip import chip_of, plan_of, without_chip
from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..deployment.calibration import choose_plan
from ..deployment.float_run import Calibration, Readout
from ..mapping.lowering import Inspection, inspect_network, refusal
from ..simulator.xylo_sim import OutputMode
from ..violation import MappingError
from .module import ChipExact
from .probing import find_placement

__all__ = ["chip_exact"]


def chip_exact(
    net: nn.Module,
    chip: str | Chip,
    calibration: Any = None,
    labels: Any = None,
    *,
    plan: ScalePlan | None = None,
    headroom: float | None = None,
    readout: Readout | None = None,
    output_mode: OutputMode = "Spike",
) -> ChipExact:
    """Return a trainable module that computes what ``chip`` will, bit for bit.

    Forward is the chip's integer arithmetic for the network as :func:`snnkit.hw.xylo.deploy` maps and rounds
    it, with one time step of delay for each hop between populations; backward are surrogate gradients::

        exact = chip_exact(net, "a3", calibration=events, labels=classes)
        ...  # train exact as any other module
        deployment = deploy(exact, "a3")  # the very program that was trained

    Args:
        net: a network that fits the chip; left as it is. Its other transforms (pruning masks) keep working.
            Of one patched by ``for_chip``, the plan is taken over.
        chip: name or table entry, :meth:`Chip.with_weight_bits` for narrow weights.
        calibration: event counts ``(batch, time, channels)`` of training data: weight shifts are chosen in
            the simulator and states observed, as in a deployment.
        labels: ``(batch,)`` classes of the calibration data: shifts then serve accuracy.
        plan: shifts and peaks, instead of calibration data.
        headroom: factor by which states may exceed those of the calibration data; 1.25.
        readout: how outputs ``(batch, time, Nout)`` become classes; by default the most events win.
        output_mode: what the module returns: ``"Spike"`` events, or ``"Vmem"`` or ``"Isyn"`` of the output
            neurons in the chip's units.

    Raises:
        MappingError: with every violation, if the network does not fit.
        ConfigurationError: the network is chip-exact already or patched for another chip, plan and
            calibration are both given, or a population's surrogate is not StepPWL or PeriodicExponential.
        DataError: the calibration data are no event counts, or labels are no output neurons.
    """
    if isinstance(net, ChipExact):
        raise ConfigurationError(
            f"The network is chip-exact for {net.chip.title} ({net.chip.name}) already: train it on as it "
            "is, or take the network inside, chip_exact(net.net, chip)."
        )
    entry = get_chip(chip)
    _check_arguments(calibration, labels, plan, headroom, readout, output_mode)
    inherited, net = _without_chip(net, entry)
    inspection = inspect_network(net, entry)
    if inspection.violations:
        raise MappingError(refusal(entry, inspection.violations), inspection.violations)
    if calibration is not None:
        data = Calibration.of(net, inspection.circuit, entry, calibration, labels=labels, readout=readout)
        plan = choose_plan(inspection.mapped, data, headroom)
    chosen = plan or inherited or (ScalePlan() if headroom is None else ScalePlan(headroom=headroom))
    placement = find_placement(net, entry)
    return ChipExact(net, placement, inspection.mapped, _placed(chosen, inspection), output_mode)


def _check_arguments(  # noqa: PLR0917
    calibration: Any,
    labels: Any,
    plan: ScalePlan | None,
    headroom: float | None,
    readout: Readout | None,
    output_mode: str,
) -> None:
    if calibration is None and (labels is not None or readout is not None):
        raise ConfigurationError("labels and readout belong to calibration data: give calibration too.")
    if plan is not None and (calibration is not None or headroom is not None):
        raise ConfigurationError("A plan has shifts, peaks and a headroom: give no calibration data with it.")
    if output_mode not in get_args(OutputMode):
        raise ConfigurationError(unknown_key_message("output_mode", str(output_mode), get_args(OutputMode)))


def _without_chip(net: nn.Module, chip: Chip) -> tuple[ScalePlan | None, nn.Module]:
    """Return the plan that ``for_chip`` gave a network, and a copy without its transforms, at rest."""
    plan, trained_for = plan_of(net), chip_of(net)
    if trained_for is not None and trained_for.name != chip.name:
        raise ConfigurationError(
            f"The network is patched for {trained_for.title} ({trained_for.name}), not for {chip.title}. "
            "Take remove_T_net(net) first."
        )
    net = without_chip(copy.deepcopy(net))
    if isinstance(net, TorchModule):
        net.reset_state()
    return plan, net


def _placed(plan: ScalePlan, inspection: Inspection) -> ScalePlan:
    """Leave out the peaks of neurons that nothing reads; they are not on the chip."""
    known = {population.path for population in inspection.mapped.populations}
    read = {node.path for node in inspection.circuit.nodes}
    peaks = {path: peak for path, peak in plan.peaks.items() if path in known or path not in read}
    return ScalePlan(plan.weight_shift_in, plan.weight_shift_rec, plan.weight_shift_out, peaks, plan.headroom)
