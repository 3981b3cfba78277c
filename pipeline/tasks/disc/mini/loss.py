"""The mean squared error of each replica."""

from __future__ import annotations

from torch import Tensor

from pipeline.base.errors import InputError


class MSE:
    """l = the mean of (y - t)^2 over the B samples and K outputs of a replica, with outputs y and targets t."""

    _difference_RBK: Tensor | None = None

    def forward(self, output_RBK: Tensor, target_RBK: Tensor) -> Tensor:
        """The loss of each replica (R,). Raises InputError if the shapes differ."""
        if output_RBK.shape != target_RBK.shape:
            raise InputError(
                "outputs and targets must have one shape (R, B, K), "
                f"but got {tuple(output_RBK.shape)} and {tuple(target_RBK.shape)}; reshape the targets"
            )
        self._difference_RBK = output_RBK - target_RBK
        return self._difference_RBK.square().mean((1, 2))

    def backward(self) -> Tensor:
        """dy (R, B, K) = 2 (y - t) / (B K): of each replica's own loss. Raises RuntimeError if there was no forward."""
        if self._difference_RBK is None:
            raise RuntimeError("backward is of the last forward, but MSE has none; call forward first")
        _, samples, outputs = self._difference_RBK.shape
        return self._difference_RBK * (2 / (samples * outputs))

    def __repr__(self) -> str:
        return "MSE()"
