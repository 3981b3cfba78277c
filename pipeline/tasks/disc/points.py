"""Points of the unit square, some of them inside of a disc (report 004, part 2).

The disc has radius 1/sqrt(2 pi), so that it covers half of the square. The report does not print its centre; (0.5, 0.5)
is that of its course.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.base.seeds import numpy_generator
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Dataset, Indices, Samples, Splits

CENTRE = (0.5, 0.5)
RADIUS = 1 / math.sqrt(2 * math.pi)
POOL_SIZE = 50_000
"""Points in each pool, of which a round takes 1,000."""


@dataclass(frozen=True, kw_only=True)
class PointSet(Dataset):
    """Points, each a sample."""

    sample_name, item_name = "point", "point"

    points_ND: NDArray[np.float32]
    """(N, 2) coordinates, 0 to 1."""
    labels_N: NDArray[np.int64]
    """1 inside of the disc, 0 outside."""

    def targets(self, indices: Indices) -> NDArray[np.int64]:
        """Whether each of the points (N, 1) is inside."""
        return self.labels_N[indices[:, 0]]

    def gather(self, indices: Indices) -> Samples:
        """`x` (N, 2) and `target` (N,) of the points (N, 1)."""
        return {"x": self.points_ND[indices[:, 0]], "target": self.targets(indices)}


def disc_splits(_config: DataConfig) -> Splits:
    """The same points for every experiment, drawn uniformly from the unit square."""
    return Splits(
        name="disc",
        source=f"{POOL_SIZE} + {POOL_SIZE} points uniform in [0, 1]^2, inside of a disc of radius {RADIUS:.4f} or not",
        train=_draw("train"),
        test=_draw("test"),
    )


def _draw(part: str) -> PointSet:
    # The pools belong to the data set, not to an experiment: their seed is fixed.
    points_ND = numpy_generator(0, "disc", part).random((POOL_SIZE, 2), dtype=np.float32)
    distance_N = np.linalg.norm(points_ND.astype(np.float64) - CENTRE, axis=1)
    return PointSet(points_ND=points_ND, labels_N=(distance_N <= RADIUS).astype(np.int64))
