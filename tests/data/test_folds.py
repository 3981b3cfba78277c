from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import InputError
from pipeline.data.folds import check_folds, split_folds
from pipeline.data.rounds import draw_samples
from tests.data.splits import digits


@given(data=st.data(), count=st.integers(2, 60), seed=st.integers(0, 2**40), round_=st.integers(0, 20))
def test_folds_partition_the_samples(data: st.DataObject, count: int, seed: int, round_: int) -> None:
    folds = data.draw(st.integers(2, count))
    samples = draw_samples("train", digits(2 * count), count, seed=seed, round_=round_)
    everything = set(map(tuple, samples.tolist()))
    validated: list[tuple[int, ...]] = []
    sizes = []
    for train, validation in split_folds(samples, folds, seed=seed, round_=round_):
        assert set(map(tuple, train.tolist())) == everything - set(map(tuple, validation.tolist()))
        assert len(train) + len(validation) == count
        validated.extend(map(tuple, validation.tolist()))
        sizes.append(len(validation))
    assert len(sizes) == folds
    assert max(sizes) - min(sizes) <= 1
    assert sorted(validated) == sorted(everything)


def test_folds_belong_to_seed_and_round() -> None:
    samples = draw_samples("train", digits(200), 100, seed=0, round_=0)

    def first_fold(seed: int, round_: int) -> bytes:
        return next(iter(split_folds(samples, 5, seed=seed, round_=round_)))[1].tobytes()

    assert first_fold(0, 0) == first_fold(0, 0)
    assert len({first_fold(0, 0), first_fold(0, 1), first_fold(1, 0)}) == 3


@pytest.mark.parametrize("folds", [-1, 0, 1, 11])
def test_impossible_numbers_of_folds_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match=f"between 2 and the 10 samples of a round, but got {folds}"):
        check_folds(folds, 10)
    with pytest.raises(InputError):
        list(split_folds(np.zeros((10, 2), np.int32), folds, seed=0, round_=0))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples_for_any_folds_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"at least 2 samples in a round, but there is {count}; use more --samples"):
        check_folds(2, count)


@pytest.mark.parametrize("folds", [2, 10])
def test_extreme_numbers_of_folds_are_allowed(folds: int) -> None:
    check_folds(folds, 10)
