"""Layers that take pairs of images apart or put them together, each with its batched form.

Everything but the batched forms is written for one replica: images are (B, C, H, W), vectors (B, D). The same
`forward` runs for many replicas at once, where vectors are (R, B, D); therefore features are addressed as dimension -1
and samples as dimension -2.
"""

from __future__ import annotations

from torch import Tensor, nn


class FoldPair(nn.Module):
    """(B, 2, H, W) -> (2B, 1, H, W): the images one after the other, so that one network reads both at once."""

    def forward(self, x: Tensor) -> Tensor:
        """Both images of sample i become rows 2i and 2i + 1."""
        return x.flatten(0, 1).unsqueeze(1)

    def batched(self, _replicas: int) -> nn.Module:
        """For R replicas."""
        return BatchedFoldPair()


class BatchedFoldPair(nn.Module):
    """`FoldPair`: images (R, B, 2, H, W) -> feature maps (2B, R, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """A view."""
        return x.flatten(1, 2).transpose(0, 1)


class SplitPair(nn.Module):
    """(B, 2, H, W) -> two (B, 1, H, W): the first and the second images."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split along the channels."""
        return x[:, 0:1], x[:, 1:2]

    def batched(self, _replicas: int) -> nn.Module:
        """For R replicas."""
        return BatchedSplitPair()


class BatchedSplitPair(nn.Module):
    """`SplitPair`: images (R, B, 2, H, W) -> two feature maps (B, R, H, W)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Views."""
        first, second = x.transpose(0, 1).unbind(2)
        return first, second


class JoinPair(nn.Module):
    """(B, 2, H, W) -> the same, as the feature map of one image with two channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Nothing is to be done for one replica."""
        return x

    def batched(self, _replicas: int) -> nn.Module:
        """For R replicas."""
        return BatchedJoinPair()


class BatchedJoinPair(nn.Module):
    """`JoinPair`: images (R, B, 2, H, W) -> feature maps (B, R*2, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """A copy, unless there is one replica."""
        return x.transpose(0, 1).flatten(1, 2)
