from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import InputError
from pipeline.data import rounds
from pipeline.data.dataset import Dataset
from pipeline.data.rounds import draw_samples, resampled
from tests.data.splits import KINDS, digits, points

every_kind = pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)


@every_kind
def test_a_round_uses_every_item_at_most_once(data: Dataset) -> None:
    indices = draw_samples("train", data, data.samples, seed=0, round_=0)
    assert indices.shape == (data.samples, data.items_per_sample)
    assert sorted(indices.flatten().tolist()) == list(range(len(data)))


@every_kind
def test_a_round_is_the_same_whenever_it_is_drawn(data: Dataset) -> None:
    first, second = (draw_samples("train", data, 50, seed=0, round_=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every_kind
def test_a_smaller_round_is_the_beginning_of_a_larger_one(data: Dataset) -> None:
    small, large = (draw_samples("train", data, count, seed=0, round_=3) for count in (20, 50))
    np.testing.assert_array_equal(small, large[:20])


@every_kind
def test_rounds_parts_and_seeds_differ(data: Dataset) -> None:
    draws = [
        draw_samples(name, data, 100, seed=seed, round_=round_).tobytes()
        for name in ("train", "test")
        for seed in (0, 1)
        for round_ in (0, 1)
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize(
    ("name", "data", "count", "message"),
    [
        ("train", digits(19), 10, "10 pairs needs 20 distinct digits, but the train pool holds 19; .* --train-size 9 "),
        ("test", digits(19), 10, "10 pairs needs 20 distinct digits, but the test pool holds 19; .* --test-samples 9 "),
        (
            "train",
            points(19),
            20,
            "20 points needs 20 distinct points, but the train pool holds 19; .* --train-size 19 ",
        ),
    ],
)
def test_a_small_pool_is_refused_with_the_largest_number_that_it_allows(
    name: str, data: Dataset, count: int, message: str
) -> None:
    with pytest.raises(InputError, match=f"a round of {message}or use a larger data set"):
        draw_samples(name, data, count, seed=0, round_=0)
    assert len(draw_samples(name, data, data.samples, seed=0, round_=0)) == data.samples


def test_a_pool_too_small_for_any_pair_is_refused_with_what_a_pair_needs() -> None:
    with pytest.raises(InputError, match="1 pairs needs 2 distinct digits, but the test pool holds 1; use a larger"):
        draw_samples("test", digits(1), 1, seed=0, round_=0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train", replace(digits(40), labels_N=np.full(40, 3)), "all 10 train pairs have .* more with --train-size or"),
        ("test", replace(digits(40), labels_N=np.full(40, 3)), "all 10 test pairs have .* more with --test-samples or"),
        (
            "train",
            replace(points(40), labels_N=np.zeros(40, np.int64)),
            "all 10 train points have .* more with --train-size or",
        ),
    ],
    ids=["digits to train on", "digits to test on", "points"],
)
def test_rounds_with_one_answer_are_warned_of_once(
    name: str, data: Dataset, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    rounds._warn.cache_clear()
    for round_ in (0, 0, 1):
        draw_samples(name, data, 10, seed=0, round_=round_)
    [record] = caplog.records
    assert re.search(message, record.getMessage())


@every_kind
def test_rounds_with_both_answers_need_no_warning(data: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    rounds._warn.cache_clear()
    draw_samples("train", data, 50, seed=0, round_=0)
    assert not caplog.records


@every_kind
def test_resampling_draws_as_many_samples_again_with_replacement(data: Dataset) -> None:
    samples = draw_samples("train", data, 100, seed=0, round_=0)
    drawn = [resampled(samples, seed=seed, round_=round_) for seed, round_ in [(0, 0), (0, 0), (0, 1), (1, 0)]]
    assert len({each.tobytes() for each in drawn}) == 3
    for each in drawn:
        assert each.shape == samples.shape
        distinct = set(map(tuple, each.tolist()))
        assert distinct <= set(map(tuple, samples.tolist()))
        assert 50 <= len(distinct) < 80  # 63 are expected
