"""A tour of the transforms: parameters, activity, decays, bit shifts, pruning, and a chip's arithmetic.

Run it with ``python transforms_tour.py``; it takes a few seconds.
"""

import torch

import snnkit.transforms.torch_transform as tt
import snnkit.utilities.tree_utils as tu
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.transforms import for_chip, scales_of


def build(**last_layer):
    """A small spiking network with a residual block."""
    return Sequential(
        LinearTorch((3, 5)),
        LIFTorch(5),
        Residual(
            LinearTorch((5, 5)),
            LIFTorch(5, has_rec=True),
        ),
        LinearTorch((5, 3)),
        LIFTorch(3, **last_layer),
    )


def parameters():
    """Weights of at most four levels and random loss of biases, seen by the forward pass only."""
    net = build()
    config = tt.make_param_T_config(net, lambda p: tt.stochastic_rounding(p, num_levels=2**2), "weights")
    config = tu.tree_update(config, tt.make_param_T_config(net, lambda p: tt.dropout(p, 0.3), "biases"))
    tnet = tt.make_param_T_network(net, config)
    print(tnet)

    optimiser = torch.optim.Adam(tnet.parameters().astorch(), lr=1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        tnet.reset_state()
        output, _, _ = tnet(torch.ones(1, 10, 3))
        (output.mean() - 1).square().backward()
        optimiser.step()

    # Burn the values in, then take the wrappers out.
    tnet = tt.apply_T(tnet, inplace=True)
    net = tt.remove_T_net(tnet, inplace=True)
    levels = net[0].weight.unique()
    print("levels of the first layer:", [round(level, 3) for level in levels.tolist()])
    return net


def activity():
    """Outputs of all linear layers as signed bytes."""
    net = build()

    def to_bytes(p):
        return tt.deterministic_rounding(p, output_range=[-128, 127], num_levels=2**8)

    tnet = tt.make_act_T_network(net, tt.make_act_T_config(net, to_bytes, LinearTorch))
    _, _, record = tnet(torch.ones(1, 10, 3), record=True)
    print("first layer's output:", record["0_LinearTorch_output"][0, 0].tolist())
    return record


def decays():
    """Decay factors that a shift of bits can compute, stated as decays, bit shifts or time constants."""
    net = build(leak_mode="decays", alpha=0.9, beta=0.6)
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, tt.t_decay, "decays"))
    alpha = tt.remove_T_net(tt.apply_T(tnet))[4].alpha

    net = build(leak_mode="bitshifts", dash_mem=3.4)
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, tt.round_passthrough, "bitshifts"))
    dash = tt.remove_T_net(tt.apply_T(tnet))[4].dash_mem

    # In the usual leak mode, the gradient goes on to tau.
    net = build()
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, tt.bitshift_tau(dt=1e-3), "taus"))
    tau = tt.remove_T_net(tt.apply_T(tnet))[4].tau_mem
    print(f"decay {alpha.max():.4f}, bit shift {dash.max():.0f}, time constant {1e3 * tau.max():.2f} ms")
    return alpha, dash, tau


def pruning():
    """At most two inputs for each neuron, reached in three steps and then frozen."""
    net = build()
    few_inputs = tt.FanInPruning(2, tt.CubicSchedule(begin=0, end=3))
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, few_inputs, "weights"))
    for _ in range(3):
        tt.advance_transforms(tnet)  # once per epoch, after training it
    tt.freeze_masks(tnet)
    pruned = tt.remove_T_net(tt.apply_T(tnet))
    print("inputs per neuron:", (pruned[2][0].weight != 0).sum(0).tolist())
    return pruned


def chip():
    """Everything that a Xylo-IMU will do to the numbers, in one line."""
    net = build()
    events = torch.randint(0, 3, (4, 30, 3)).float()
    qat = for_chip(net, "imu", calibration=events)
    weight = tt.remove_T_net(tt.apply_T(qat))[0].weight
    integers = weight.double() * scales_of(qat)["1_LIFTorch"]
    print("first layer on the chip:\n", integers.detach().round().int().numpy())
    return integers


if __name__ == "__main__":
    torch.manual_seed(0)
    for stop in (parameters, activity, decays, pruning, chip):
        print(f"\n# {stop.__doc__}")
        stop()
