"""Parts that pair models are made of.

Everything here is written for one replica: images are (B, C, 14, 14), vectors (B, D). `pipeline.training.stack` runs
the same `forward` for many replicas at once, where vectors are (R, B, D); therefore features are addressed as
dimension -1 and samples as dimension -2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.data.digits import CLASSES
from pipeline.models.variant import Hyperparameters, Variant


class PairOutput(NamedTuple):
    """What a pair model says of a batch."""

    comparison: Tensor
    """(..., B, 2) logits of "greater" and "lesser or equal"."""
    digits: Tensor
    """(..., B, 2, 10) scores of the two digits; trained only with an auxiliary loss."""


class FoldPair(nn.Module):
    """(B, 2, H, W) -> (2B, 1, H, W): the images one after the other, so that a shared trunk runs once."""

    def forward(self, x: Tensor) -> Tensor:
        """Both images of sample i become rows 2i and 2i + 1."""
        return x.flatten(0, 1).unsqueeze(1)


class SplitPair(nn.Module):
    """(B, 2, H, W) -> two (B, 1, H, W): the first and the second images."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split along the channels."""
        return x[:, 0:1], x[:, 1:2]


class SharedTrunk(nn.Module):
    """One trunk reads both images (weight sharing)."""

    def __init__(self, trunk: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.fold = FoldPair()
        self.trunk = trunk()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) -> (B, 2, 10) digit scores."""
        scores: Tensor = self.trunk(self.fold(x))
        pairs: Tensor = scores.unflatten(-2, (-1, 2))
        return pairs


class TwoTrunks(nn.Module):
    """Each image has a trunk of its own."""

    def __init__(self, trunk: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.split = SplitPair()
        self.first = trunk()
        self.second = trunk()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) -> (B, 2, 10) digit scores."""
        first, second = self.split(x)
        return torch.stack((self.first(first), self.second(second)), dim=-2)


class PairModel(nn.Module):
    """Trunks give ten scores for each digit; a head compares the twenty."""

    def __init__(self, trunk: Callable[[], nn.Module], head: nn.Module, *, weight_sharing: bool) -> None:
        super().__init__()
        self.trunks = SharedTrunk(trunk) if weight_sharing else TwoTrunks(trunk)
        self.head = head

    def forward(self, x: Tensor) -> PairOutput:
        """(B, 2, 14, 14) standardised images -> comparison (B, 2) and digit scores (B, 2, 10)."""
        digits = self.trunks(x)
        return PairOutput(self.head(digits.flatten(-2)), digits)


def pair_family(
    arch: str,
    *,
    trunk: Callable[[], nn.Module],
    head: Callable[[], nn.Module],
    source: str,
    lr: float,
    batch_size: int,
    epochs: int,
) -> list[Variant]:
    """The four variants of a pair model: plain, `_ws`, `_al` and `_ws_al`, in the order of report 000's Table 2.

    The auxiliary loss weighs 1 in the presets.
    """

    def variant(weight_sharing: bool, auxiliary_loss: bool) -> Variant:
        return Variant(
            name=arch + "_ws" * weight_sharing + "_al" * auxiliary_loss,
            arch=arch,
            weight_sharing=weight_sharing,
            auxiliary_loss=auxiliary_loss,
            source=source,
            preset=Hyperparameters(lr=lr, batch_size=batch_size, epochs=epochs, alpha=float(auxiliary_loss)),
            build=lambda: PairModel(trunk, head(), weight_sharing=weight_sharing),
        )

    return [variant(ws, al) for al in (False, True) for ws in (False, True)]


def digit_scores(features: int) -> nn.Linear:
    """The last layer of a trunk: ten scores."""
    return nn.Linear(features, CLASSES)
