"""Splits whose parts are told apart by their first number."""

from __future__ import annotations

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.disc.points import PointSet


def digits(count: int) -> DigitSet:
    """The labels count 0 to 9 again and again."""
    return DigitSet(
        images_NHW=np.arange(count * 196, dtype=np.float32).reshape(count, 14, 14), labels_N=np.arange(count) % 10
    )


def points(count: int) -> PointSet:
    """Every other one is inside."""
    return PointSet(points_ND=np.arange(2 * count, dtype=np.float32).reshape(count, 2), labels_N=np.arange(count) % 2)


KINDS: dict[str, Dataset] = {"digits": digits(200), "points": points(200)}
