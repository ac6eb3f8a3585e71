import math

import pytest
import torch

from snnkit.nn.leaks import snap_decay
from snnkit.nn.modules import (
    bitshift_to_decay,
    bitshift_to_tau,
    calc_bitshift_decay,
    decay_to_bitshift,
    decay_to_tau,
    inv_calc_bitshift_decay,
    tau_to_bitshift,
    tau_to_decay,
)

DT = 1e-3
TAUS = torch.tensor([1.5e-3, 3e-3, 20e-3, 0.1, 1.0], dtype=torch.float64)


def test_a_tau_decays_to_1_over_e_in_its_own_time():
    (alpha,) = tau_to_decay(DT, torch.tensor(20e-3))
    assert float(alpha**20) == pytest.approx(math.exp(-1), rel=1e-5)


def test_conversions_are_inverse_to_each_other():
    (alpha,) = tau_to_decay(DT, TAUS)
    (dash,) = tau_to_bitshift(DT, TAUS)
    torch.testing.assert_close(decay_to_tau(DT, alpha)[0], TAUS)
    torch.testing.assert_close(bitshift_to_tau(DT, dash)[0], TAUS)
    torch.testing.assert_close(decay_to_bitshift(alpha)[0], dash)
    torch.testing.assert_close(bitshift_to_decay(dash)[0], alpha)
    torch.testing.assert_close(alpha, 1 - 2**-dash)


def test_conversions_take_and_return_any_number_of_values():
    assert tau_to_decay(DT) == ()
    alpha, beta = tau_to_decay(DT, TAUS, 5e-3)
    assert alpha.shape == TAUS.shape
    assert float(beta) == pytest.approx(math.exp(-0.2))
    assert len(bitshift_to_decay(1, 2, torch.tensor([3, 4]))) == 3


def test_known_values_of_bit_shifts():
    (taus,) = bitshift_to_tau(1.0, torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]))
    torch.testing.assert_close(
        taus, torch.tensor([0.0, 1.4427, 3.4761, 7.4889, 15.4946]), rtol=1e-4, atol=1e-6
    )
    (decays,) = bitshift_to_decay(torch.tensor([0, 1, 2, 3]))
    assert decays.tolist() == [0.0, 0.5, 0.75, 0.875]


def test_long_time_constants_keep_their_digits_in_float32():
    (dash,) = tau_to_bitshift(DT, torch.tensor(100.0))
    assert float(dash) == pytest.approx(math.log2(1e5), rel=1e-5)


def test_gradients_flow_through_every_conversion():
    for convert, value in [
        (tau_to_decay, 0.02),
        (tau_to_bitshift, 0.02),
        (decay_to_tau, 0.9),
        (bitshift_to_tau, 3.0),
    ]:
        tensor = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, convert=convert: convert(DT, x)[0], tensor)


def test_whole_bit_shifts_of_time_constants():
    taus = torch.tensor([0.5e-3, 1e-3, 1.5e-3, 2e-3, 5.6e-3, 20e-3, 1e3])
    dashes = calc_bitshift_decay(taus, DT)
    assert dashes.dtype == torch.int32
    assert dashes.tolist() == [0, 0, 1, 1, 2, 4, 20]
    torch.testing.assert_close(inv_calc_bitshift_decay(dashes[2:6], DT), DT * 2.0 ** dashes[2:6])


def test_snapped_decay_is_that_of_the_chip_with_the_gradient_of_the_exact_one():
    tau = torch.tensor([5.6e-3, 20e-3, 0.0], dtype=torch.float64, requires_grad=True)
    alpha = snap_decay(tau, DT)
    assert alpha.tolist() == [0.75, 0.9375, 0.0]
    (gradient,) = torch.autograd.grad(alpha.sum(), tau)
    expected = [math.exp(-DT / t) * DT / t**2 for t in (5.6e-3, 20e-3)]
    assert gradient[:2].tolist() == pytest.approx(expected)
    assert gradient[2] == 0


@pytest.mark.oracle
def test_conversions_equal_rockpools():
    pytest.importorskip("rockpool", reason="rockpool is the oracle")
    from rockpool.nn.modules.torch import lif_bitshift_torch, lif_torch

    taus = torch.tensor([1.5e-3, 3e-3, 20e-3, 0.1])
    (alpha,), (dash,) = tau_to_decay(DT, taus), tau_to_bitshift(DT, taus)
    torch.testing.assert_close(alpha, lif_torch.tau_to_decay(DT, taus)[0])
    torch.testing.assert_close(dash, lif_torch.tau_to_bitshift(DT, taus)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decay_to_tau(DT, alpha)[0], lif_torch.decay_to_tau(DT, alpha)[0])
    torch.testing.assert_close(
        bitshift_to_tau(DT, dash)[0], lif_torch.bitshift_to_tau(DT, dash)[0], rtol=1e-4, atol=0
    )
    torch.testing.assert_close(decay_to_bitshift(alpha)[0], lif_torch.decay_to_bitshift(alpha)[0])
    torch.testing.assert_close(bitshift_to_decay(dash)[0], lif_torch.bitshift_to_decay(dash)[0])
    assert torch.equal(calc_bitshift_decay(taus, DT), lif_bitshift_torch.calc_bitshift_decay(taus, DT))
    ours, theirs = (
        m(torch.tensor([1, 4]), DT)
        for m in (inv_calc_bitshift_decay, lif_bitshift_torch.inv_calc_bitshift_decay)
    )
    torch.testing.assert_close(ours, theirs)
