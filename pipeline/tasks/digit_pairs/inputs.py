"""How grey values, 0 to 255, are scaled where they are not standardised."""

from __future__ import annotations

import torch
from torch import Tensor

WHITE = 255.0
"""The greatest grey value."""


def unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """From 0 to 1."""
    return _constants(x, WHITE)


def grey(x: Tensor) -> tuple[Tensor, Tensor]:
    """As they are."""
    return _constants(x, 1.0)


def _constants(x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    shape = (len(x), *[1] * (x.dim() - 1))
    return torch.zeros(shape, dtype=x.dtype, device=x.device), torch.full(shape, scale, dtype=x.dtype, device=x.device)
