"""What is done to inputs before a network reads them: scaling, once, and augmentation, anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Scaling = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Training inputs (R, N, ...) -> what is taken from every input of a replica, and what the rest is divided by; both of
shape (R, 1, ...) with ones where all numbers are treated alike."""
Augmentation = Callable[[Tensor, float, torch.Generator], Tensor]
"""(inputs (N, ...) of one replica, what an input of 0 was scaled to, its generator) -> inputs of the same shape."""


def standardised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of all numbers of a replica."""
    mean_R, std_R = mean_and_std(x.flatten(1))
    shape = (-1, *[1] * (x.dim() - 1))
    return mean_R.view(shape), std_R.view(shape)


def standardised_features(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature of a replica; one that is constant is only shifted."""
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=int(x.shape[1] > 1))
    return mean, std.where(std > 0, torch.ones_like(std))


def mean_and_std(x_RD: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each row; `Tensor.std` takes 5 times as long."""
    mean_R = x_RD.mean(1)
    distance_R = torch.linalg.vector_norm(x_RD - mean_R.unsqueeze(1), dim=1)
    return mean_R, distance_R / (x_RD.shape[1] - 1) ** 0.5


@dataclass(frozen=True)
class Transforms:
    """The transforms that a configuration can choose from, by name."""

    scalings: Mapping[str, Scaling] = field(default_factory=lambda: {"standardised": standardised})
    """By the value of the hyperparameter `inputs`."""
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)
    """By the value of `augmentation`, which may also be `none`."""

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Hyperparameter -> the names that it may be."""
        return {"augmentation": ("none", *self.augmentations), "inputs": tuple(self.scalings)}
