"""How grey values, 0 to 255, are scaled where they are not standardised."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.models.transforms import Scale

WHITE = 255.0
"""The greatest grey value."""


def unit(x: Tensor) -> Scale:
    """From 0 to 1."""
    return _constants(x, WHITE)


def grey(x: Tensor) -> Scale:
    """As they are."""
    return _constants(x, 1.0)


def _constants(x: Tensor, scale: float) -> Scale:
    shape = (len(x), *[1] * (x.dim() - 1))
    return Scale(
        torch.zeros(shape, dtype=x.dtype, device=x.device), torch.full(shape, scale, dtype=x.dtype, device=x.device)
    )
