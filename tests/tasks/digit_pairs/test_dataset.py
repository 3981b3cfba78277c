from __future__ import annotations

import numpy as np

from pipeline.tasks.digit_pairs.dataset import DigitSet
from tests.data.splits import digits


def test_pairs_hold_images_digits_and_whether_the_first_is_lesser_or_equal() -> None:
    data = DigitSet(images_NHW=digits(4).images_NHW, labels_N=np.array([5, 3, 5, 9]))
    indices = np.array([[0, 1], [1, 0], [0, 2], [3, 2]], dtype=np.int32)
    samples = data.gather(indices)
    assert samples["target"].tolist() == [0, 1, 1, 0]
    assert samples["digits"].tolist() == [[5, 3], [3, 5], [5, 5], [9, 5]]
    for sample, (first, second) in zip(samples["x"], indices, strict=True):
        np.testing.assert_array_equal(sample[0], data.images_NHW[first])
        np.testing.assert_array_equal(sample[1], data.images_NHW[second])
