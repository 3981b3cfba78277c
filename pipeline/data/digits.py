"""Pools of digits, of which pairs are made: is the first lesser than or equal to the second?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.pools import Pool, Positions, Samples

CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class DigitSet(Pool):
    """Digits of one pool."""

    sample, part, parts = "pair", "digit", 2

    images_NHW: NDArray[np.float32]
    """Grey values, 0 (background) to 255."""
    labels_N: NDArray[np.int64]
    """The digit shown, 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def targets(self, positions: Positions) -> NDArray[np.int64]:
        """1 for each pair at positions (N, 2) whose first digit is lesser than or equal to the second, else 0."""
        first_N, second_N = self.labels_N[positions].T
        target_N: NDArray[np.int64] = (first_N <= second_N).astype(np.int64)
        return target_N

    def gather(self, positions: Positions) -> Samples:
        """The pairs of the digits at positions (N, 2)."""
        return Samples(
            x=self.images_NHW[positions], target_N=self.targets(positions), digits_NC=self.labels_N[positions]
        )
