"""Digits made up for tests: a pattern for each class under noise, so that a model learns them quickly."""

from __future__ import annotations

import numpy as np

from pipeline.data.digits import CLASSES, DigitSet
from pipeline.seeds import numpy_generator


def make_digits(count: int, name: str, *, broken: int = 0) -> DigitSet:
    """`count` 14x14 digits; the last `broken` of them are not numbers."""
    patterns_KHW = numpy_generator(0, "patterns").uniform(0, 200, (CLASSES, 14, 14))
    generator = numpy_generator(0, "digits", name)
    labels_N = generator.integers(CLASSES, size=count)
    images_NHW = (patterns_KHW[labels_N] + generator.uniform(0, 55, (count, 14, 14))).round().astype(np.float32)
    images_NHW[count - broken :] = np.nan
    return DigitSet(images_NHW=images_NHW, labels_N=labels_N)
