"""What is done to inputs before a network reads them: scaling, once, and augmentation, anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Scale(NamedTuple):
    """What is done to every input of a replica, (R, 1, ...) each with ones where all numbers are treated alike."""

    mean: Tensor
    """What is taken from it."""
    std: Tensor
    """What the rest is divided by; infinite where it is to become 0."""
    fill: Tensor | None = None
    """What stands for a missing number (NaN), before; None where there is none."""

    def apply_(self, x: Tensor) -> Tensor:
        """Inputs (R, N, ...) scaled, in their place."""
        if self.fill is not None:
            torch.where(x.isnan(), self.fill, x, out=x)
        return x.sub_(self.mean).div_(self.std)


def rows_of(scales: Sequence[Scale]) -> Scale:
    """Of R scales of R replicas each, that of the first replica, that of the second, and so on."""

    def rows(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(torch.broadcast_tensors(*(part[row] for row, part in enumerate(parts))))

    fills = [scale.mean * torch.nan if scale.fill is None else scale.fill for scale in scales]
    fill = rows(fills) if any(scale.fill is not None for scale in scales) else None
    return Scale(rows([scale.mean for scale in scales]), rows([scale.std for scale in scales]), fill)


Scaling = Callable[[Tensor], Scale]
"""From training inputs (R, N, ...)."""
Augmentation = Callable[[Tensor, float, torch.Generator], Tensor]
"""(inputs (N, ...) of one replica, what an input of 0 was scaled to, its generator) -> inputs of the same shape."""


def unscaled(x: Tensor) -> Scale:
    """Inputs as they are."""
    shape = (len(x), *[1] * (x.dim() - 1))
    return Scale(x.new_zeros(shape), x.new_ones(shape))


def standardised(x: Tensor) -> Scale:
    """Mean and standard deviation of all numbers of a replica."""
    mean_R, std_R = mean_and_std(x.flatten(1))
    shape = (-1, *[1] * (x.dim() - 1))
    return Scale(mean_R.view(shape), std_R.view(shape))


def standardised_features(x: Tensor) -> Scale:
    """Mean and standard deviation of each feature of a replica; one that is constant is only shifted."""
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=int(x.shape[1] > 1))
    return Scale(mean, std.where(std > 0, torch.ones_like(std)))


@dataclass(frozen=True)
class StandardisedFeatures:
    """Mean and standard deviation of each feature of a replica, once missing numbers are filled in; one that is
    constant becomes 0, also where samples that were held out have another value."""

    impute: str = "mean"
    """What a missing number becomes: the mean, the median or the most frequent value of its feature in the training
    samples; 0 where all are missing."""

    def __call__(self, x: Tensor) -> Scale:
        """From training inputs (R, N, ...)."""
        fill = filling(x, self.impute)
        filled = torch.where(x.isnan(), fill, x)
        mean, std, _ = standardised_features(filled)
        constant = filled.amax(1, keepdim=True) == filled.amin(1, keepdim=True)
        return Scale(mean, std.masked_fill(constant, torch.inf), fill)


@dataclass(frozen=True)
class ImputedFeatures:
    """Features as they are, once missing numbers are filled in in the same way."""

    impute: str

    def __call__(self, x: Tensor) -> Scale:
        """From training inputs (R, N, ...)."""
        return unscaled(x)._replace(fill=filling(x, self.impute))


def filling(x: Tensor, impute: str) -> Tensor:
    """What stands for a missing number of each feature: (R, N, ...) -> (R, 1, ...)."""
    return FILLS[impute](x).nan_to_num(nan=0.0)


def mean_of_known(x: Tensor) -> Tensor:
    """(R, N, ...) -> (R, 1, ...), without what is missing."""
    return x.nanmean(1, keepdim=True)


def median_of_known(x: Tensor) -> Tensor:
    """The same; of an even number the mean of the two in the middle."""
    ascending, known = x.sort(1).values, (~x.isnan()).sum(1, keepdim=True)
    middle = [ascending.gather(1, ((known - 1 + up) // 2).clamp_min(0)) for up in (0, 1)]
    return (middle[0] + middle[1]) / 2


def most_frequent(x: Tensor) -> Tensor:
    """The same; of several values that are as frequent the least."""
    ascending = x.movedim(1, -1).sort(-1).values.contiguous()
    comparable = ascending.nan_to_num(nan=torch.inf)
    count = torch.searchsorted(comparable, comparable, right=True) - torch.searchsorted(comparable, comparable)
    count = count.masked_fill(ascending.isnan(), 0)
    candidates = comparable.masked_fill(count < count.amax(-1, keepdim=True), torch.inf)
    return candidates.amin(-1, keepdim=True).movedim(-1, 1).nan_to_num(posinf=torch.nan)


FILLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": mean_of_known,
    "median": median_of_known,
    "most_frequent": most_frequent,
}
"""(R, N, ...) -> (R, 1, ...) by name; NaN where nothing is known."""


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
