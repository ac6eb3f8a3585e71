import argparse

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnkit.nn.losses import BinaryPeakLoss, MSELoss, PeakLoss


def peak_error(trace: torch.Tensor, interval: int, target: float) -> float:
    """The definition, step by step."""
    peak = int(trace.argmax())
    steps = [step if step < len(trace) else peak for step in range(peak, peak + interval)]
    return float((sum(trace[step] for step in steps) / interval - target) ** 2)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(2, 5))
def test_peak_loss_follows_its_definition(seed, interval, classes):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.rand(4, 9, classes, generator=generator)
    labels = torch.randint(classes, (4,), generator=generator)

    target = sum(peak_error(prediction[b, :, labels[b]], interval, 0.8) for b in range(4)) / 4
    others = [prediction[b, :, c] for b in range(4) for c in range(classes) if c != labels[b]]
    expected = target + 0.3 * float((torch.stack(others) ** 2).mean())

    assert float(PeakLoss(interval, 0.3, 0.8)(prediction, labels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
def test_binary_peak_loss_follows_its_definition(labels):
    prediction = torch.rand(4, 9, 1, generator=torch.Generator().manual_seed(1))
    peaks = [peak_error(prediction[b, :, 0], 3, 1.0) for b in range(4) if labels[b]]
    quiet = [prediction[b] for b in range(4) if not labels[b]]
    expected = sum(peaks) / len(peaks) if peaks else 0.0
    expected += 0.5 * float((torch.stack(quiet) ** 2).mean()) if quiet else 0.0

    assert float(BinaryPeakLoss(3, 0.5, 1.0)(prediction, torch.tensor(labels))) == pytest.approx(expected)


def test_nontarget_output_is_what_the_others_should_be():
    prediction = torch.full((2, 5, 3), 0.25)

    loss = PeakLoss(2, 1.0, 0.25, nontarget_output=0.25)(prediction, torch.tensor([0, 2]))

    assert float(loss) == 0.0


def test_gradients_raise_the_target_and_lower_the_others():
    prediction = torch.full((1, 4, 2), 0.5, requires_grad=True)

    PeakLoss(1, 1.0, 1.0)(prediction, torch.tensor([1])).backward()

    assert prediction.grad[0, :, 0].min() > 0
    assert prediction.grad[0, :, 1].min() < 0


def test_labels_may_come_as_a_column():
    prediction = torch.rand(3, 5, 2)
    labels = torch.tensor([0, 1, 1])

    assert PeakLoss(2, 1.0, 1.0)(prediction, labels[:, None]) == PeakLoss(2, 1.0, 1.0)(prediction, labels)


@pytest.mark.parametrize(
    ("loss", "prediction", "labels", "message"),
    [
        (PeakLoss(2, 1.0, 1.0), torch.rand(3, 5), [0, 1, 1], r"must be \(batch, time, channels\)"),
        (PeakLoss(2, 1.0, 1.0), torch.rand(3, 0, 2), [0, 1, 1], "not empty"),
        (PeakLoss(2, 1.0, 1.0), torch.rand(3, 5, 2), [0, 1], "one label per sample"),
        (PeakLoss(2, 1.0, 1.0), torch.rand(3, 5, 2), [0, 1, 2], "1 of 3 labels .* from 0 to 1"),
        (PeakLoss(2, 1.0, 1.0), torch.rand(3, 5, 2), [0, 1, -1], "labels"),
        (PeakLoss(2, 1.0, 1.0), torch.rand(3, 5, 1), [0, 0, 0], "BinaryPeakLoss"),
        (BinaryPeakLoss(2, 1.0, 1.0), torch.rand(3, 5, 2), [0, 0, 1], "PeakLoss"),
        (BinaryPeakLoss(2, 1.0, 1.0), torch.rand(3, 5, 1), [0, 0, 0.5], "labels"),
    ],
)
def test_misuse_is_refused(loss, prediction, labels, message):
    with pytest.raises(ValueError, match=message):
        loss(prediction, torch.tensor(labels))


def test_an_interval_needs_a_step():
    with pytest.raises(ValueError, match="max_interval"):
        PeakLoss(0, 1.0, 1.0)


def test_mse_does_not_broadcast():
    assert float(MSELoss()(torch.ones(2, 3, 1), torch.zeros(2, 3, 1))) == 1.0
    with pytest.raises(ValueError, match="must be equal"):
        MSELoss()(torch.ones(2, 3, 1), torch.zeros(2, 3))


def test_settings_become_arguments_of_a_parser():
    parser = argparse.ArgumentParser()

    PeakLoss(3, 0.5, 1.0).log_params(parser)
    MSELoss().log_params(parser)

    assert vars(parser.parse_args(["--max_interval", "7"])) == {
        "max_interval": 7, "weight_nontarget": 0.5, "target_output": 1.0, "nontarget_output": 0.0,
    }  # fmt: skip
