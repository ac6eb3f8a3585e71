"""Random LIF populations, runs of them under a backend, and comparisons."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from snnkit.nn import functional
from snnkit.nn.backend import use_backend
from snnkit.nn.functional import Adaptation, LIFDynamics, LIFState, SpikeGeneration
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

NAMES = ("data", "vmem", "isyn", "spikes", "alpha", "beta", "bias", "threshold", "w_rec", "noise")


@dataclass(frozen=True)
class Case:
    batch: int = 3
    steps: int = 12
    neurons: int = 5
    synapses: int = 1
    alpha: str = "vector"
    beta: str = "matrix"
    bias: str = "vector"
    threshold: str = "vector"
    recurrent: bool = False
    noisy: bool = False
    adaptive: bool = False
    periodic: bool = False
    cap: float = 2.0**16
    window: float = 0.5
    relative: bool = False
    dtype: torch.dtype = torch.float64
    seed: int = 0
    device: str = "cpu"

    def tensors(self):
        """Return the inputs by name, all of which want a gradient."""
        generator = torch.Generator().manual_seed(self.seed)

        def uniform(low, high, *shape):
            drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
            return (low + (high - low) * drawn).to(self.device, self.dtype)

        B, T, N, S = self.batch, self.steps, self.neurons, self.synapses
        shapes = {"scalar": (), "vector": (N,), "row": (1, S), "matrix": (N, S)}
        values = {
            "data": uniform(-0.3, 0.9, B, T, N * S),
            "vmem": uniform(-0.5, 0.5, B, N),
            "isyn": uniform(-0.2, 0.3, B, N, S),
            "spikes": uniform(0, 2, B, N).floor(),
            "alpha": uniform(0.3, 0.95, *shapes[self.alpha]),
            "beta": uniform(0.2, 0.8, *shapes[self.beta]),
            "bias": uniform(-0.1, 0.2, *shapes[self.bias]),
            "threshold": uniform(0.5, 1.5, *shapes[self.threshold]),
            "w_rec": uniform(-0.3, 0.3, N, N * S) if self.recurrent else None,
            "noise": uniform(-0.1, 0.1, B, T, N) if self.noisy else None,
        }
        if self.adaptive:
            values["iahp"] = uniform(-0.3, 0.2, B, N)
            values["w_ahp"] = uniform(-0.6, 0.1, *shapes[self.alpha])
            values["gamma"] = uniform(0.3, 0.9, *shapes[self.bias])
        return {name: None if v is None else v.requires_grad_() for name, v in values.items()}

    def arguments(self, values):
        """Return the arguments of ``functional.lif``."""
        function = (PeriodicExponential if self.periodic else StepPWL).apply
        spike = SpikeGeneration(values["threshold"], function, self.window, self.cap, self.relative)
        own = Adaptation(values["w_ahp"], values["gamma"]) if self.adaptive else None
        dynamics = LIFDynamics(values["alpha"], values["beta"], values["bias"], spike, values["w_rec"], own)
        state = LIFState(values["vmem"], values["isyn"], values["spikes"], values.get("iahp"))
        return values["data"], state, dynamics, values["noise"]


CASES = st.builds(
    Case,
    batch=st.integers(1, 4),
    steps=st.integers(1, 30),
    neurons=st.integers(1, 40),
    synapses=st.integers(1, 5),
    alpha=st.sampled_from(["scalar", "vector"]),
    beta=st.sampled_from(["scalar", "row", "matrix"]),
    bias=st.sampled_from(["scalar", "vector"]),
    threshold=st.sampled_from(["scalar", "vector"]),
    noisy=st.booleans(),
    periodic=st.booleans(),
    cap=st.sampled_from([1.0, 3.0, 2.0**16]),
    window=st.sampled_from([0.3, 0.5, 2.0]),
    relative=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 10**6),
)
READOUTS = st.sampled_from(["all", "record", "spikes", "vmem", "isyn"])


def run(case, backend, readout, values=None):
    """Return what a run under ``backend`` gives, and the gradients of a random weighting of ``readout``."""
    values = case.tensors() if values is None else values
    with use_backend(backend):
        spikes, final, record = functional.lif(*case.arguments(values), record=readout == "record")
    outputs = {"spikes": spikes, "vmem": final.vmem, "isyn": final.isyn, "last": final.spikes}
    if final.iahp is not None:
        outputs["iahp"] = final.iahp
    outputs |= {f"record {name}": course for name, course in record.items()}
    generator = torch.Generator().manual_seed(case.seed + 1)
    weights = {name: torch.randn(o.shape, generator=generator).to(o) for name, o in outputs.items()}
    chosen = outputs if readout in ("all", "record") else {readout: outputs[readout]}
    loss = sum((outputs[name] * weights[name]).sum() for name in chosen)
    given = {name: value for name, value in values.items() if value is not None}
    found = torch.autograd.grad(loss, list(given.values()), allow_unused=True)
    pairs = zip(given.items(), found, strict=True)
    gradients = {name: torch.zeros_like(v) if g is None else g for (name, v), g in pairs}
    return {name: o.detach() for name, o in outputs.items()}, gradients


def assert_gradients_agree(gradients, expected, dtype):
    """1e-5 (float32) or 1e-10 (float64) of each gradient's largest entry, which rounding is relative to."""
    relative = {torch.float32: 1e-5, torch.float64: 1e-10}[dtype]
    for name, other in expected.items():
        error = (gradients[name] - other).abs().max()
        assert gradients[name].shape == other.shape, name
        size = other.abs().max().clamp(min=1.0)
        assert error <= relative * size, (name, float(error), float(size))
