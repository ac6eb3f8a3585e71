"""Compile the kernels for a CUDA device that need not be there; print what their machine code holds.

Run as a program, in a process in which Triton's interpreter is off: ``python triton_compile.py 90``.
"""

import json
import sys

SPIKING = {
    "feed-forward": {"neurons": 256, "synapses": 1, "recurrent": False, "adapts": False, "dtype": "fp32"},
    "recurrent": {"neurons": 256, "synapses": 1, "recurrent": True, "adapts": False, "dtype": "fp32"},
    "everything": {"neurons": 100, "synapses": 3, "recurrent": True, "adapts": True, "dtype": "fp64"},
    "no synapses": {"neurons": 64, "synapses": 0, "recurrent": False, "adapts": False, "dtype": "fp64"},
}
COUNTS = {"batch", "steps", "neurons", "channels"}


def compiled(kernel, target, dtype, constants, *, warps, exact):
    """Return the PTX of a kernel whose tensors are of one type."""
    import triton
    from triton.compiler import ASTSource

    kinds = {
        name: "constexpr" if name in constants else "i32" if name in COUNTS else f"*{dtype}"
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, kinds, constants)
    options = {"num_warps": warps, "enable_fp_fusion": not exact}
    return triton.compile(source, target=target, options=options).asm["ptx"]


def flags(kernel, given):
    """Return all constants of a kernel; the flags that are not given are set."""
    return {name: given.get(name, True) for name in kernel.arg_names if name.isupper()}


def spiking(target, case):
    from snnkit.nn.kernels import triton_lif
    from snnkit.nn.kernels.triton_launch import Blocks

    blocks = Blocks.of(case["neurons"], case["synapses"], case["recurrent"])
    given = {"SYNAPSES": case["synapses"], "CAP": 2.0**16, "WINDOW": 0.3, "RECURRENT": case["recurrent"]}
    given["RELATIVE"] = case["adapts"]
    given |= {"ADAPTS": case["adapts"], "KEEP_ADAPTATIONS": case["adapts"], "G_ADAPTATIONS": case["adapts"]}
    given |= {"BLOCK": blocks.neurons, "LANES": blocks.lanes, "STAGES": blocks.stages}
    if not case["synapses"]:
        given |= {"KEEP_CHARGES": False, "G_CHARGES": False, "BETA_SUM": False}
    for kernel, tile in (
        (triton_lif.lif_forward, blocks.presynaptic),
        (triton_lif.lif_backward, blocks.channels),
    ):
        exact = kernel is triton_lif.lif_forward
        constants = flags(kernel, given | {"TILE": tile})
        yield compiled(kernel, target, case["dtype"], constants, warps=blocks.warps, exact=exact)


def main() -> None:
    from triton.backends.compiler import GPUTarget

    from snnkit.nn.kernels import triton_leak

    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    found = {}
    for name, case in SPIKING.items():
        forward, backward = spiking(target, case)
        found[name] = {
            "fused forward": forward.count("fma.rn"),
            "barriers forward": forward.count("bar.sync"),
            "barriers backward": backward.count("bar.sync"),
        }
    for kernel in (triton_leak.leaky_sum, triton_leak.leaky_sum_adjoint):
        compiled(kernel, target, "fp32", flags(kernel, {"BLOCK": 64, "STAGES": 4}), warps=1, exact=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
