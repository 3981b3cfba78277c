"""What the output of a network for the disc means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pipeline.data.dataset import Batch
from pipeline.models.objectives import Objective


@dataclass(frozen=True)
class Square(Objective):
    """Mean squared error of (R, B, 1) against 1 (inside) and -1 (outside), as the mini framework has it."""

    description: ClassVar[str] = "above 0 for a point (x, y) of the unit square inside of the disc, below 0 outside"

    def loss_R(self, output: Tensor, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,)."""
        return (output.squeeze(-1) - signs(batch["target"], output.dtype)).square().mean(1)

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """`answer` (..., N): whether the output is positive."""
        return {"answer": output[..., 0] > 0}

    def serve(self, output: Tensor) -> Tensor:
        """(B, 1): the output from -1 to 1 as it is, which is not a probability."""
        return output


def signs(target: Tensor, dtype: torch.dtype) -> Tensor:
    """1 and 0 -> 1 and -1."""
    return (2 * target - 1).to(dtype)
