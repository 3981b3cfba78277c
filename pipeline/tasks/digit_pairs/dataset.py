"""Digits, of which pairs are made: is the first lesser than or equal to the second?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import Dataset, Indices, Samples

CLASSES = 10
SIDE = 14


@dataclass(frozen=True, kw_only=True)
class DigitSet(Dataset):
    """Digits, two of which make a sample."""

    sample_name, item_name, items_per_sample = "pair", "digit", 2

    images_NHW: NDArray[np.float32]
    """Grey values, 0 (background) to 255."""
    labels_N: NDArray[np.int64]
    """The digit shown, 0 to 9."""

    def targets(self, indices: Indices) -> NDArray[np.int64]:
        """1 for each pair of digits (N, 2) whose first is lesser than or equal to the second, else 0."""
        first_N, second_N = self.labels_N[indices].T
        target_N: NDArray[np.int64] = (first_N <= second_N).astype(np.int64)
        return target_N

    def gather(self, indices: Indices) -> Samples:
        """`x` (N, 2, 14, 14) grey values, channel 0 the first digit; `target` (N,); `digits` (N, 2) what is shown."""
        return {"x": self.images_NHW[indices], "target": self.targets(indices), "digits": self.labels_N[indices]}
