"""Report data made by small runs of real arithmetic: a spiking net in floats, and again in integers."""

from dataclasses import dataclass

import numpy as np

from snnkit.report import (
    DeploymentRow,
    Divergence,
    EpochRecord,
    Exactness,
    Histogram,
    ReportData,
    Resource,
    SampleTrace,
    ShiftPoint,
    Timing,
)

ACTIVITIES = ("badminton", "running", "standing", "walking")


@dataclass(frozen=True)
class Net:
    """One hidden layer of leaky integrate-and-fire neurons, as arrays."""

    w_in: np.ndarray
    w_out: np.ndarray
    threshold: float
    decay: float = 0.9


def layer(events, weights, threshold, decay):
    """Return spikes and membranes ``(time, neurons)``: decay, add, fire, subtract."""
    membrane = np.zeros(weights.shape[1])
    spikes, membranes = [], []
    for step in events:
        membrane = membrane * decay + step @ weights
        fired = np.floor(np.clip(membrane / threshold, 0, 15))
        membranes.append(membrane)
        membrane = membrane - fired * threshold
        spikes.append(fired)
    return np.array(spikes), np.array(membranes)


def run_net(net, events, delay=0):
    hidden, membranes = layer(events, net.w_in, net.threshold, net.decay)
    late = np.vstack([np.zeros((delay, hidden.shape[1])), hidden])
    output, _ = layer(late, net.w_out, net.threshold * 2, net.decay)
    return hidden, np.minimum(output, 1), membranes


def quantised(net, bits=8):
    scale = (2 ** (bits - 1) - 1) / max(abs(net.w_in).max(), abs(net.w_out).max())
    return Net(np.round(net.w_in * scale), np.round(net.w_out * scale), round(net.threshold * scale))


def histogram(name, values, limit, bins=41):
    edges = np.linspace(values.min() - 0.5, values.max() + 0.5, bins + 1)
    counts, _ = np.histogram(values, edges)
    return Histogram(name, edges, counts, -limit - 1.0, float(limit), int((abs(values) >= limit).sum()))


def learned(rng, stage, epochs, start, end):
    accuracy = np.clip(end - (end - start) * np.exp(-np.arange(epochs) / (epochs / 5)), 0, 1)
    noise = rng.normal(0, 0.012, epochs)
    losses = 1.4 * (1 - accuracy) ** 1.5 + 0.01 + abs(noise) / 4
    return [
        EpochRecord(stage, i, float(losses[i]), float(np.clip(accuracy[i] + noise[i], 0, 1)))
        for i in range(epochs)
    ]


def answers(rng, labels, wrong, classes):
    predictions = labels.copy()
    for index in rng.choice(labels.size, wrong, replace=False):
        predictions[index] = (labels[index] + 1 + rng.integers(classes - 1)) % classes
    return predictions


def sample_trace(rng, net, *, classes, steps, delay, bits):
    rate = 0.02 + 0.16 * np.sin(np.linspace(0, 9, steps))[:, None] ** 2 * rng.random(net.w_in.shape[0])
    events = rng.poisson(rate * 2)
    padded = np.vstack([events, np.zeros((delay, events.shape[1]), dtype=int)])
    hidden, output, _ = run_net(net, events)
    chip_hidden, chip_output, membranes = run_net(quantised(net, bits), padded, delay)
    trace = SampleTrace(
        3, 1 % classes, events, hidden, chip_hidden, output, chip_output[: steps + delay], delay=delay
    )
    return trace, membranes


EXPLANATION = (
    "The vendor's cycle model with the mean activity of the test recordings, 20 % margin; power is taken "
    "from published measurements at this clock and is good to a factor of two."
)
SHIFT_CURVE = ((0, 0.95, 0), (1, 0.975, 0), (2, 0.975, 0), (3, 0.975, 12), (4, 0.9, 1877), (5, 0.55, 48211))
VERSIONS = {"snnkit": "0.1.0", "torch": "2.13.0", "numpy": "2.3.5", "numba": "0.63.1", "python": "3.11.7"}


def first_divergence(trace):
    """Return the first hidden event count that differs, or None."""
    steps = trace.net_hidden.shape[0]
    different = np.argwhere(trace.net_hidden != trace.chip_hidden[:steps])
    if not len(different):
        return None
    step, neuron = map(int, different[0])
    values = float(trace.net_hidden[step, neuron]), float(trace.chip_hidden[step, neuron])
    reason = "The rounded weight lifts the membrane over the threshold."
    return Divergence(step, "1_LIFTorch", neuron, *values, reason, 3)


def state_histograms(rng, membranes):
    edges = np.linspace(-32768, 32767, 42)
    return (
        histogram("1_LIFTorch.vmem", membranes.ravel() * 40, 32767),
        histogram("1_LIFTorch.isyn", membranes.ravel() * 25, 32767),
        Histogram("3_LIFTorch.vmem", edges, rng.poisson(80, 41), -32768, 32767, 57),
    )


def resources(channels, hidden, outputs):
    return (
        Resource("input channels", channels, 16),
        Resource("hidden neurons", hidden, 496),
        Resource("hidden neurons that receive input", hidden, 128),
        Resource("hidden neurons that drive outputs", hidden, 128),
        Resource("output neurons", outputs, 16),
        Resource("recurrent weights", 0, 31744),
        Resource("largest recurrent fan-out", 470, 512),
    )


def example_report(
    classes=ACTIVITIES,
    *,
    seed=1,
    samples=40,
    hidden=60,
    channels=12,
    delay=1,
    bits=8,
    wrong=(1, 1, 1),
    exact=False,
):
    """Return honest data: traces, histograms and the first difference come from the small net above."""
    rng = np.random.default_rng(seed)
    n = len(classes)
    net = Net(rng.normal(0.06, 0.3, (channels, hidden)), rng.normal(0.0, 0.2, (hidden, n)), 1.0)
    trace, membranes = sample_trace(rng, net, classes=n, steps=100, delay=delay, bits=bits)
    whole = quantised(net)
    labels = np.arange(samples) % n
    tuned = "chip_exact" if exact else "qat"
    predictions = {
        key: answers(np.random.default_rng(seed), labels, count, n)
        for key, count in zip(("float", tuned, "chip"), wrong, strict=True)
    }
    return ReportData(
        recipe="basic-motions",
        title="Basic motions from a smart watch",
        chip="imu",
        seed=seed,
        seconds=74.2,
        classes=tuple(classes),
        labels=labels,
        predictions=predictions,
        accuracy={key: float((values == labels).mean()) for key, values in predictions.items()},
        history=(*learned(rng, "float", 40, 0.3, 1.0), *learned(rng, tuned, 15, 0.9, 1.0)),
        sample=trace,
        weight_histograms=(
            histogram("0_LinearTorch.weight", whole.w_in.ravel(), 127),
            histogram("2_LinearTorch.weight", whole.w_out.ravel(), 127),
        ),
        state_histograms=state_histograms(rng, membranes),
        shift_curve=tuple(ShiftPoint(*point) for point in SHIFT_CURVE),
        shift_chosen=2,
        resources=resources(channels, hidden, n),
        timing=Timing(5123.0, 1.25e6, 2.9e-4, EXPLANATION, 0.005),
        deployment=(
            DeploymentRow("0_LinearTorch", 0.0031, None, 0, 0),
            DeploymentRow("1_LIFTorch", None, 0.021, 3, 0),
            DeploymentRow("2_LinearTorch", 0.0044, None, 0, 0),
            DeploymentRow("3_LIFTorch", None, 0.0, 0, 57),
        ),
        divergence=None if exact else first_divergence(trace),
        exactness=Exactness(9_840, 19_680, 0, 0) if exact else None,
        versions=VERSIONS,
        compared_samples=samples,
    )
