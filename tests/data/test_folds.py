from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from pipeline.base.errors import InputError
from pipeline.base.seeds import derive
from pipeline.data.dataset import Indices, LabelledDataset
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
    for train, validation in split_folds(samples, folds, seed=seed, round_=round_, data=digits(2 * count)):
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
        return next(iter(split_folds(samples, 5, seed=seed, round_=round_, data=digits(200))))[1].tobytes()

    assert first_fold(0, 0) == first_fold(0, 0)
    assert len({first_fold(0, 0), first_fold(0, 1), first_fold(1, 0)}) == 3


@pytest.mark.parametrize("folds", [-1, 0, 1, 11])
def test_impossible_numbers_of_folds_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match=f"between 2 and the 10 samples of a round, but got {folds}"):
        check_folds(folds, 10)
    with pytest.raises(InputError):
        list(split_folds(np.zeros((10, 2), np.int32), folds, seed=0, round_=0, data=digits(200)))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples_for_any_folds_are_refused(count: int) -> None:
    with pytest.raises(
        InputError, match=f"at least 2 samples in a round, but there is {count}; use a larger --train-size"
    ):
        check_folds(2, count)


@pytest.mark.parametrize("folds", [2, 10])
def test_extreme_numbers_of_folds_are_allowed(folds: int) -> None:
    check_folds(folds, 10)


def made(target: list[int], group: list[int] | None = None) -> tuple[Indices, LabelledDataset]:
    """All samples in some order, and their data set."""
    count = len(target)
    data = LabelledDataset(
        x_ND=np.zeros((count, 1), np.float32),
        target_N=np.array(target, dtype=np.int64),
        group_N=np.array(group or [-1] * count, dtype=np.int64),
    )
    return draw_samples("train", data, count, seed=0, round_=0), data


@given(
    counts=st.lists(st.integers(5, 20), min_size=2, max_size=6),
    folds=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_folds_have_as_many_of_each_class_and_of_all_samples_but_for_one(
    counts: list[int], folds: int, seed: int
) -> None:
    samples, data = made([number for number, count in enumerate(counts) for _ in range(count)])
    validated = [part for _, part in split_folds(samples, folds, seed=seed, round_=0, data=data)]
    assert sorted(np.concatenate(validated)[:, 0].tolist()) == list(range(sum(counts)))
    sizes = [len(part) for part in validated]
    assert max(sizes) - min(sizes) == (1 if sum(counts) % folds else 0)
    of_class_FK = np.array([np.bincount(data.target_N[part[:, 0]], minlength=len(counts)) for part in validated])
    assert (np.ptp(of_class_FK, axis=0) <= 1).all()


@given(data=st.data(), groups=st.integers(5, 20), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_never_part_a_group_and_none_is_empty(data: st.DataObject, groups: int, folds: int, seed: int) -> None:
    more = data.draw(st.lists(st.integers(0, groups - 1), max_size=40))
    group = [*range(groups), *more]
    samples, dataset = made([index % 2 for index in range(len(group))], group)
    validated = []
    for train, validation in split_folds(samples, folds, seed=seed, round_=0, data=dataset):
        assert len(validation)
        held_out = {group[index] for index in validation[:, 0]}
        assert held_out.isdisjoint(group[index] for index in train[:, 0])
        validated += validation[:, 0].tolist()
    assert sorted(validated) == list(range(len(group)))


def test_groups_are_balanced_by_size_and_class() -> None:
    group = [index // 5 for index in range(200)]
    samples, data = made([int(index < 50) for index in range(200)], group)
    for _, validation in split_folds(samples, 5, seed=0, round_=0, data=data):
        assert len(validation) == 40
        assert data.target_N[validation[:, 0]].sum() == 10


def test_folds_of_classes_and_groups_belong_to_seed_and_round() -> None:
    for group in (None, list(range(40))):
        samples, data = made([0, 1] * 20, group)
        first = [
            next(iter(split_folds(samples, 4, seed=seed, round_=round_, data=data)))[1].tobytes()
            for seed, round_ in [(0, 0), (0, 0), (0, 1), (1, 0)]
        ]
        assert len(set(first)) == 3


def test_a_class_that_cannot_be_in_every_fold_is_refused_by_name() -> None:
    samples, data = made([0] * 20 + [1] * 3)
    message = "of class oak there are 3 in a round; use fewer --folds, a larger --train-size, or leave"
    with pytest.raises(InputError, match=message):
        list(split_folds(samples, 5, seed=0, round_=0, data=data, classes=("ash", "oak")))


def test_fewer_groups_than_folds_are_refused() -> None:
    samples, data = made([0, 1] * 10, [index % 4 for index in range(20)])
    with pytest.raises(InputError, match="each of 5 folds needs a group of its own, but a round has samples of 4;"):
        list(split_folds(samples, 5, seed=0, round_=0, data=data))


def test_folds_of_values_are_those_of_scikit_learn() -> None:
    samples = draw_samples("train", digits(200), 100, seed=0, round_=0)
    splitter = KFold(5, shuffle=True, random_state=derive(3, "folds", "round", 2) % 2**32)
    for (train, validation), (expected, held_out) in zip(
        split_folds(samples, 5, seed=3, round_=2, data=digits(200)), splitter.split(samples), strict=True
    ):
        np.testing.assert_array_equal(train, samples[expected])
        np.testing.assert_array_equal(validation, samples[held_out])
