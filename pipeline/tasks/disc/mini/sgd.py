"""Gradient descent with a learning rate for each replica."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipeline.base.errors import InputError
from pipeline.tasks.disc.mini.modules import Module


class SGD:
    """p -= lr * g, of every parameter p and its gradient g; to be made once the network is initialised."""

    lr_R: Tensor

    def __init__(self, network: Module, rates: Sequence[float]) -> None:
        if not network.parameters():
            raise InputError(f"there must be parameters to train, but {network} has none; add a Linear")
        self._network = network
        self._bind()
        self.set_rates(rates)

    def _bind(self) -> None:
        self._parameters = self._network.parameters()
        self._replicas = len(self._parameters[0].value)

    def set_rates(self, rates: Sequence[float]) -> None:
        """Go on with these learning rates, one for each replica."""
        self._use(self._parameters[0].value.new_tensor(rates))

    def _use(self, lr_R: Tensor) -> None:
        if lr_R.shape != (self._replicas,):
            raise InputError(
                "there must be one learning rate for each replica, "
                f"but got {lr_R.numel()} for {self._replicas}; initialise or select the network first"
            )
        self.lr_R = lr_R
        self._updates = [
            (parameter.value, parameter.gradient, lr_R.view(-1, *[1] * (parameter.value.dim() - 1)))
            for parameter in self._parameters
        ]

    def step(self) -> None:
        """Update all parameters from their gradients, which stay."""
        for value, gradient, lr in self._updates:
            value.addcmul_(gradient, lr, value=-1)

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`; to be called after the network's own `select`."""
        self._bind()
        self._use(self.lr_R[keep])
