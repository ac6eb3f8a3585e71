"""Compiled kernels: a whole sequence of neurons in one forward and one backward pass over memory.

:mod:`snnkit.nn.functional` calls them where :mod:`snnkit.nn.backend` says so and :mod:`.coverage` finds no
reason against it; nothing else needs to know of them. Numba or Triton is imported at the first such call.

On the CPU, by Numba:

* :mod:`.lif_kernels`, :mod:`.exp_syn_kernels`: what is compiled, from :mod:`.lif_steps` and others.
* :mod:`.lif_function`, :mod:`.exp_syn_function`: the autograd nodes.
* :mod:`.launch`: loads kernels and shares a batch among threads.

On CUDA devices, by Triton, with nodes of the same face:

* :mod:`.triton_lif`, :mod:`.triton_leak`: what is compiled.
* :mod:`.triton_function`, :mod:`.triton_exp_syn`: the autograd nodes.
* :mod:`.triton_launch`: shares neurons among programs, and runs them.

The forward pass does the operations of the reference in the same order, each rounded on its own (no fused
multiply-add, no reassociation): values are equal to the last bit. Only recurrent input is summed in an order
of its own, which is defined: ascending over the neurons that emitted events, starting from zero. Weights of
silent neurons are thus not read, and an infinite one of theirs makes no NaN. Triton's kernels sum recurrent
input in tiles of neurons, in an order that is the compiler's.
"""
