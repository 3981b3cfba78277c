from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.digits import DigitSet
from pipeline.data.pairs import draw_pairs, gather
from pipeline.errors import InputError


def test_a_round_uses_every_digit_at_most_once() -> None:
    pairs = draw_pairs("train", 50, 25, seed=0, round_=0)
    assert pairs.shape == (25, 2)
    assert sorted(pairs.flatten().tolist()) == list(range(50))


def test_a_round_is_the_same_whenever_it_is_drawn() -> None:
    first, second = (draw_pairs("train", 500, 100, seed=0, round_=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_rounds_pools_and_seeds_differ() -> None:
    draws = [
        draw_pairs(pool, 500, 100, seed=seed, round_=round_).tobytes()
        for pool in ("train", "test")
        for seed in (0, 1)
        for round_ in (0, 1)
    ]
    assert len(set(draws)) == len(draws)


def test_a_small_pool_is_refused_with_the_largest_number_that_it_allows() -> None:
    with pytest.raises(InputError, match="test pool holds 19; ask for at most --pairs 9 "):
        draw_pairs("test", 19, 10, seed=0, round_=0)


def test_gather_looks_up_images_digits_and_whether_the_first_is_lesser_or_equal() -> None:
    digits = DigitSet(
        images_NHW=np.arange(4 * 196, dtype=np.float32).reshape(4, 14, 14), labels_N=np.array([5, 3, 5, 9])
    )
    pairs = np.array([[0, 1], [1, 0], [0, 2], [3, 2]], dtype=np.int32)
    samples = gather(digits, pairs)
    assert samples.target_N.tolist() == [0, 1, 1, 0]
    assert samples.digits_NC.tolist() == [[5, 3], [3, 5], [5, 5], [9, 5]]
    for sample, (first, second) in zip(samples.x_NCHW, pairs, strict=True):
        np.testing.assert_array_equal(sample[0], digits.images_NHW[first])
        np.testing.assert_array_equal(sample[1], digits.images_NHW[second])
