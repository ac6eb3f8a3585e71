"""Chip-exact training: networks whose forward pass is the chip's integer arithmetic.

* :mod:`.probing`, :mod:`.placement`: where each parameter of a network sits among the chip's arrays.
* :mod:`.leaks`: decays of a population, differentiable.
* :mod:`.function`: the autograd node: the bit-exact simulator forward, :mod:`.adjoint` backward, with the
  compiled loops of :mod:`.adjoint_kernels`.
* :mod:`.reference`: the same in plain torch operations, which defines the gradients.
* :mod:`.module`, :mod:`.conversion`: the module, and how a network becomes one.
* :mod:`.deployment`: the module's own program as a deployment.
"""
