"""Digits and points made up for tests: digits are a pattern for each class under noise, and quickly learned."""

from __future__ import annotations

import numpy as np

from pipeline.base.seeds import numpy_generator
from pipeline.tasks.digit_pairs.dataset import CLASSES, DigitSet
from pipeline.tasks.disc.points import CENTRE, RADIUS, PointSet


def make_digits(count: int, name: str, *, broken: int = 0) -> DigitSet:
    """`count` 14x14 digits; the last `broken` of them are not numbers."""
    patterns_KHW = numpy_generator(0, "patterns").uniform(0, 200, (CLASSES, 14, 14))
    generator = numpy_generator(0, "digits", name)
    labels_N = generator.integers(CLASSES, size=count)
    images_NHW = (patterns_KHW[labels_N] + generator.uniform(0, 55, (count, 14, 14))).round().astype(np.float32)
    images_NHW[count - broken :] = np.nan
    return DigitSet(images_NHW=images_NHW, labels_N=labels_N)


def make_points(count: int, name: str) -> PointSet:
    """`count` points of the unit square, and whether they lie in the disc."""
    points_ND = numpy_generator(0, "points", name).random((count, 2), dtype=np.float32)
    inside_N = np.hypot(*(points_ND - CENTRE).T) <= RADIUS
    return PointSet(points_ND=points_ND, labels_N=inside_N.astype(np.int64))
