"""A trained pair model as others use it: grey values in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Comparator(nn.Module):
    """Standardises grey values as in training and returns the probabilities of both answers."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, pairs: Tensor) -> Tensor:
        """(B, 2, 14, 14) grey values 0 to 255 -> (B, 2): P(first > second), P(first <= second)."""
        logits: Tensor = self.network((pairs - self.mean) / self.std).comparison
        return logits.softmax(-1)
