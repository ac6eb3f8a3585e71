"""Compiled kernels: a whole sequence of neurons in one forward and one backward pass over memory.

:mod:`snnkit.nn.functional` calls them where :mod:`snnkit.nn.backend` says so and :mod:`.coverage` finds no
reason against it; nothing else needs to know of them. Numba is imported at the first such call.

* :mod:`.loops`, :mod:`.lif_kernels`: what is compiled.
* :mod:`.lif_function`: the autograd node.
* :mod:`.launch`: loads kernels and shares a batch among threads.

The forward pass does the operations of the reference in the same order, each rounded on its own (no fused
multiply-add, no reassociation): values are equal to the last bit. Only recurrent input is summed in an order
of its own, which is defined: ascending over the neurons that emitted events, starting from zero. Weights of
silent neurons are thus not read, and an infinite one of theirs makes no NaN.
"""
