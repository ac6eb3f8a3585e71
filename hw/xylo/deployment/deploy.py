"""From a trained network to the integer program of a chip, with a report of what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.transforms.chip import chip_of, plan_of, scales_of
from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError

from ..mapping.check import report_of
from ..mapping.lowering import Inspection, inspect_network, refusal
from ..mapping.mapped_network import MappedNetwork
from ..mapping.resources import resources_of
from ..simulator.xylo_sim import OutputMode, XyloSim
from ..specification.core import Specification
from ..violation import MappingError
from .calibration import ShiftPoint, Trial, accuracy_of, choose_plan, shift_curve, try_program
from .float_run import Calibration, Readout
from .methods import METHODS, RULES, check_method, quantise_by_rule, refuse_method_for
from .quantising import QuantisedNetwork, quantise
from .report import DeploymentReport, LayerReport, layer_reports

if TYPE_CHECKING:
    from ..orbit.settings import OnProgress, OrbitSettings

__all__ = ["Deployment", "deploy", "deployment_of"]

_COARSE = 0.1
"""Relative error of weights or time constants from which the report says what to do."""


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network on a chip.

    Attributes:
        specification: the integer program.
        report: what each step cost.
        plan: the weight shifts, state peaks and headroom that fixed the scales;
            ``for_chip(net, chip, plan=plan)`` trains with the very values of this program. A search over
            the orbit chose scales and rounding by itself: only the shifts are then those of the program.
        scales: module path -> (N,) factor from float to the chip's integers.
        mapped: the float network in the chip's layout.
    """

    specification: Specification
    report: DeploymentReport
    plan: ScalePlan
    scales: Mapping[str, np.ndarray]
    mapped: MappedNetwork

    @property
    def delay(self) -> int:
        """Time steps by which the chip's outputs lag the network's: one for each hop between layers."""
        return self.mapped.delay

    def simulator(self, output_mode: OutputMode = "Spike") -> XyloSim:
        """Return a bit-exact simulator of the program."""
        return XyloSim.from_specification(self.specification, output_mode=output_mode)

    def run(self, raster: Any, output_mode: OutputMode = "Spike") -> Any:
        """Simulate rasters from rest; return outputs aligned in time with those of the network.

        Args:
            raster: event counts ``(time, Nin)`` or ``(batch, time, Nin)``, numpy or torch.
            output_mode: what to read out of the output neurons.

        Returns:
            ``(..., time, Nout)`` in the caller's kind: ``delay`` empty steps are run after the raster, and
            the first ``delay`` outputs are left out.
        """
        output, _, _ = self.simulator(output_mode)(self.padded(raster))
        return output[..., self.delay :, :]

    def padded(self, raster: Any) -> Any:
        """Return rasters with ``delay`` empty time steps at their end."""
        if isinstance(raster, Tensor):
            return torch.nn.functional.pad(raster, (0, 0, 0, self.delay))
        array = np.asarray(raster)
        return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, self.delay), (0, 0)])


def deploy(
    net: nn.Module,
    chip: str | Chip,
    calibration: Any = None,
    labels: Any = None,
    *,
    method: str = "peaks",
    plan: ScalePlan | None = None,
    headroom: float | None = None,
    readout: Readout | None = None,
    orbit: "OrbitSettings | None" = None,
    on_progress: "OnProgress | None" = None,
) -> Deployment:
    """Map, quantise and report; the network is left as it is.

    Each neuron gets the largest scale that its weights, threshold, bias and observed states allow. The weight
    shifts are chosen in the bit-exact simulator on the calibration data, see :func:`choose_plan`. A network
    patched by ``for_chip``, or a ``plan``, brings its own: then the program holds exactly the values that the
    network was trained with.

    With ``method="orbit"`` the program that this gives is only where a search starts: over the scale of each
    neuron, small offsets of thresholds and biases, the rounding of each weight, and the weight shifts (those
    of a ``plan`` are kept), with the chip's arithmetic as judge. On the calibration data the result is never
    worse than the start.

    A chip-exact network is deployed as it is: the program is the one of its own forward pass, which has the
    chip's delays, so the deployment's ``delay`` is 0. Calibration data then serve the report alone.

    Args:
        net: the network, or its graph.
        chip: name or table entry.
        calibration: event counts ``(batch, time, channels)`` such as the chip will receive; use training
            data. Without it nothing is known of the states, and they may saturate.
        labels: ``(batch,)`` classes of the calibration data: shifts then serve accuracy.
        method: ``"peaks"``, ``"orbit"``; to compare with, ``"max-abs"`` (the largest scale that each neuron's
            weights allow, whatever its states) and ``"global"`` (one scale for all hidden neurons).
        plan: shifts and peaks of an earlier deployment.
        headroom: factor by which states may exceed those of the calibration data; 1.25.
        readout: how outputs ``(batch, time, Nout)`` become classes; by default the most events win.
        orbit: what a search may do.
        on_progress: told by a search what it does, how many parts of it are done, and of how many.

    Raises:
        MappingError: with every violation, if the network does not fit.
        ConfigurationError: an unknown method, or one without what it needs; the network is patched for
            another chip or for wider weights, or ``plan`` is given for a patched one; ``labels`` or
            ``readout`` are given without calibration data.
        DataError: the calibration data are no event counts, or labels are no output neurons.
    """
    from ..exact.deployment import deploy_exact
    from ..exact.module import ChipExact

    entry = get_chip(chip)
    if calibration is None and (labels is not None or readout is not None):
        raise ConfigurationError("labels and readout belong to calibration data: give calibration too.")
    check_method(
        method,
        calibrated=calibration is not None,
        planned=plan is not None or headroom is not None,
        has_settings=orbit is not None,
    )
    if isinstance(net, ChipExact):
        refuse_method_for("chip-exact", method)
        if plan is not None or headroom is not None:
            raise ConfigurationError(
                "A chip-exact network brings its own plan: give neither plan nor headroom."
            )
        return deploy_exact(net, entry, calibration, labels, readout)
    inspection = inspect_network(net, entry)
    trained = _trained_plan(net, entry, plan)
    if trained is not None:
        refuse_method_for("patched", method)
    if inspection.violations:
        raise MappingError(refusal(entry, inspection.violations), inspection.violations)
    data = None
    if calibration is not None:
        circuit = inspection.circuit
        data = Calibration.of(net, circuit, entry, calibration, labels=labels, readout=readout)
    start = _program(net, inspection.mapped, data, method, (plan, trained, headroom))
    if method != "orbit" or data is None:
        return _with_report(inspection, *start, data, method)
    from ..orbit.search import search_orbit

    fixed = plan is not None
    found = search_orbit(
        net, inspection.mapped, start, data, settings=orbit, fixed_shifts=fixed, on_progress=on_progress
    )
    deployment = _with_report(inspection, found.quantised, found.plan, data, method)
    return replace(deployment, report=replace(deployment.report, orbit=found.report))


def _with_report(
    inspection: Inspection,
    quantised: QuantisedNetwork,
    plan: ScalePlan,
    data: Calibration | None,
    method: str,
) -> Deployment:
    mapped = inspection.mapped
    curve = () if data is None else shift_curve(mapped, data, _with_peaks(plan, data))
    notes = report_of(inspection).notes
    return deployment_of(mapped, quantised, plan, data, notes=notes, curve=curve, method=method)


def _program(
    net: nn.Module,
    mapped: MappedNetwork,
    data: Calibration | None,
    method: str,
    plans: tuple[ScalePlan | None, ScalePlan | None, float | None],
) -> tuple[QuantisedNetwork, ScalePlan]:
    """Return the program of a rule or of observed peaks; of a given plan, or of one trained with, if any."""
    if method in RULES:
        return quantise_by_rule(mapped, method)
    plan, trained, headroom = plans
    given = plan if trained is None else _placed_peaks(trained, mapped)
    chosen = _plan(mapped, data, given, headroom)
    return quantise(mapped, chosen, scales_of(net) if trained else None), chosen


def deployment_of(
    mapped: MappedNetwork,
    quantised: QuantisedNetwork,
    plan: ScalePlan,
    data: Calibration | None,
    *,
    notes: tuple[str, ...],
    curve: tuple[ShiftPoint, ...],
    method: str = METHODS[0],
) -> Deployment:
    """Put a program and its report together; ``method`` chose its scales.

    Raises:
        MappingError: with every limit of the chip that the program breaks.
    """
    broken = quantised.specification.violations()
    if broken:
        raise MappingError(refusal(mapped.chip, broken), broken)
    report = _report(mapped, quantised, plan, data, notes, curve, method)
    return Deployment(quantised.specification, report, plan, _scales(mapped, quantised), mapped)


def _trained_plan(net: nn.Module, chip: Chip, plan: ScalePlan | None) -> ScalePlan | None:
    """Return the plan that the network was patched with for this chip."""
    trained, trained_for = plan_of(net), chip_of(net)
    if trained is None or trained_for is None:
        return None
    if trained_for.name != chip.name:
        raise ConfigurationError(
            f"The network is patched for {trained_for.title} ({trained_for.name}), not for {chip.title}. "
            "Take remove_T_net(net), and for_chip for the other chip."
        )
    if trained_for.weight_bits > chip.weight_bits:
        raise ConfigurationError(
            f"The network is patched for {trained_for.weight_bits}-bit weights, not for "
            f"{chip.weight_bits} bits. Take remove_T_net(net), and for_chip for narrower weights."
        )
    if plan is not None:
        raise ConfigurationError("The network was patched by for_chip and brings its own plan: give none.")
    return trained


def _placed_peaks(plan: ScalePlan, mapped: MappedNetwork) -> ScalePlan:
    """Leave out the peaks of neurons that nothing reads; they are not on the chip."""
    placed = {population.path for population in mapped.populations}
    return replace(plan, peaks={path: peak for path, peak in plan.peaks.items() if path in placed})


def _plan(
    mapped: MappedNetwork, data: Calibration | None, given: ScalePlan | None, headroom: float | None
) -> ScalePlan:
    if given is not None:
        if headroom is not None and headroom != given.headroom:
            raise ConfigurationError("The plan has a headroom already: give one of the two.")
        return given
    if data is not None:
        return choose_plan(mapped, data, headroom)
    return ScalePlan() if headroom is None else ScalePlan(headroom=headroom)


def _report(  # noqa: PLR0917
    mapped: MappedNetwork,
    quantised: QuantisedNetwork,
    plan: ScalePlan,
    data: Calibration | None,
    notes: tuple[str, ...],
    curve: tuple[ShiftPoint, ...],
    method: str,
) -> DeploymentReport:
    trial = None if data is None else try_program(mapped, quantised, plan, data)
    spec = quantised.specification
    if data is None:
        notes += ("No calibration data: whether states saturate is not known.",)
    layers = layer_reports(mapped, quantised, trial)
    return DeploymentReport(
        chip=spec.chip,
        layers=layers,
        shift_curve=curve,
        weight_shifts=(spec.weight_shift_in, spec.weight_shift_rec, spec.weight_shift_out),
        agreement=trial.agreement if trial else None,
        same_class=trial.same_class if trial else None,
        float_accuracy=None if data is None else accuracy_of(data.output, data),
        chip_accuracy=trial.accuracy if trial else None,
        clipped_inputs=int(trial.counters.clipped_input.sum()) if trial else 0,
        saturations=trial.counters.total_saturations if trial else 0,
        resources=resources_of(mapped),
        notes=(*notes, *_event_notes(mapped), *_loss_notes(layers, trial, method), *_data_notes(data, trial)),
        delay=mapped.delay,
    )


def _with_peaks(plan: ScalePlan, data: Calibration) -> ScalePlan:
    return plan if plan.peaks else replace(plan, peaks=data.peaks)


def _event_notes(mapped: MappedNetwork) -> list[str]:
    chip = mapped.chip
    caps = {"hidden": chip.hidden_event_cap, "output": chip.output_event_cap}
    loose, tight = [], []
    for population, allowed in zip(mapped.populations, mapped.max_spikes, strict=True):
        cap = caps[population.layer]
        if allowed > cap:
            loose.append(f"{population.path} ({cap})")
        elif allowed < cap:
            tight.append(f"{population.path} ({allowed:g}, the chip {cap})")
    notes = []
    if loose:
        places = ", ".join(loose)
        notes.append(f"The chip allows fewer events per step than max_spikes_per_dt in {places}.")
    if tight:
        places = ", ".join(tight)
        notes.append(
            f"The chip has no limit as low as max_spikes_per_dt, so neurons may fire more in {places}."
        )
    return notes


def _loss_notes(layers: tuple[LayerReport, ...], trial: Trial | None, method: str) -> list[str]:
    notes = [
        f"{layer.path}: weights are off by {layer.weight_error:.0%}: the largest state is so far above the "
        "weights that 16 bits hold it only at a coarse scale. Keep the activity lower in training."
        for layer in layers
        if layer.weight_error > _COARSE and method == "peaks"
    ]
    slower = [layer.path for layer in layers if max(layer.tau_mem_error, layer.tau_syn_error) > _COARSE]
    if slower:
        notes.append(
            f"Bit shifts change time constants by more than {_COARSE:.0%} in {', '.join(slower)}: train with "
            "for_chip or LIFBitshiftTorch to make up for it."
        )
    if trial is not None and trial.counters.total_saturations:
        notes += _saturation_notes(method)
    return notes


def _saturation_notes(method: str) -> list[str]:
    """Say what to do about states that saturate; a search has judged them with everything else."""
    advice = {"peaks": "raise headroom, or keep the activity lower in training"}
    advice |= dict.fromkeys(RULES, f'method="{method}" does not look at states, "peaks" and "orbit" do')
    return [f"States saturate on the calibration data: {advice[method]}."] if method in advice else []


def _data_notes(data: Calibration | None, trial: Trial | None) -> list[str]:
    if data is None or trial is None:
        return []
    if data.unobserved:
        return [f"The states of {', '.join(data.unobserved)} could not be observed: they limit no scale."]
    if not data.output.any():
        return ["The network's outputs are silent on the calibration data, so nothing was compared."]
    if not trial.output.any():
        return ["The chip's outputs are silent on the calibration data, the network's are not."]
    return []


def _scales(mapped: MappedNetwork, quantised: QuantisedNetwork) -> dict[str, np.ndarray]:
    scales = {"hidden": quantised.scale, "output": quantised.scale_out}
    return {p.path: scales[p.layer][p.start : p.stop].copy() for p in mapped.populations}
