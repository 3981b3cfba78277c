from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import DataError
from pipeline.data.dataset import ArrayDataset, Dataset, LabelledDataset, Splits, digest_of
from tests.data.splits import KINDS, digits, points


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_samples_have_one_type_whatever_they_are_made_of(data: Dataset) -> None:
    items = data.items_per_sample
    samples = data.gather(np.arange(2 * items, dtype=np.int32).reshape(2, items))
    assert samples.keys() >= {"x", "target"}
    for name, array in samples.items():
        assert array.dtype == (np.float32 if name == "x" else np.int64)
    assert {len(array) for array in samples.values()} == {2}


@pytest.mark.parametrize(("count", "pairs"), [(0, 0), (1, 0), (2, 1), (19, 9), (20, 10)])
def test_a_pair_takes_two_items_and_a_point_one(count: int, pairs: int) -> None:
    assert (digits(count).samples, points(count).samples) == (pairs, count)


def test_rows_of_arrays_are_samples_each() -> None:
    data = ArrayDataset(x_ND=np.arange(6, dtype=np.float32).reshape(3, 2), target_N=np.array([0.5, 1.5, 2.5]))
    samples = data.gather(np.array([[2], [0]], dtype=np.int32))
    assert samples["x"].tolist() == [[4, 5], [0, 1]]
    assert samples["target"].tolist() == [2.5, 0.5]
    assert (len(data), data.samples) == (3, 3)


def test_classes_and_groups_are_those_of_the_rows_and_survive_being_sent() -> None:
    rows = np.array([[2], [0]], dtype=np.int32)
    made = LabelledDataset(
        x_ND=np.zeros((3, 1), np.uint8), target_N=np.array([0, 1, 2]), group_N=np.array([5, 5, 7], dtype=np.int64)
    )
    data = LabelledDataset.of(*made.arrays)
    strata, groups = data.strata(rows), data.groups(rows)
    assert strata is not None
    assert groups is not None
    assert (strata.tolist(), groups.tolist(), data.labels.tolist()) == ([2, 0], [7, 5], [0, 1, 2])
    assert (data.digest, len(data), data.even_folds) == (made.digest, 3, False)
    alone = replace(data, group_N=np.full(3, -1), target_N=np.array([0.5, 1.5, 2.5], np.float32))
    assert (alone.strata(rows), alone.groups(rows), alone.even_folds) == (None, None, True)
    assert (digits(4).strata(rows), digits(4).groups(rows), digits(4).even_folds) == (None, None, True)


def splits(train: Dataset, test: Dataset) -> Splits:
    return Splits(name="made", source="up", train=train, test=test)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (digits(1), "a pair needs 2 distinct digits, but the {} pool of up holds 1"),
        (points(0), "a point needs 1 distinct points, but the {} pool of up holds 0"),
        (
            replace(digits(30), labels_N=np.full(30, 3)),
            "of two classes at least, .* all 30 in the {} pool of up are .* 3",
        ),
        (points(1), "points of two classes at least, but all 1 in the {} pool of up are of class 0"),
    ],
    ids=["one digit", "no point", "digits of one class", "points of one class"],
)
@pytest.mark.parametrize("part", ["training", "test"])
def test_parts_that_can_give_one_answer_alone_are_refused(data: Dataset, message: str, part: str) -> None:
    whole = KINDS[f"{data.item_name}s"]
    with pytest.raises(DataError, match=message.format(part)):
        splits(*((data, whole) if part == "training" else (whole, data)))


def test_the_digest_changes_with_every_number_and_with_the_part_that_it_is_in() -> None:
    train, test = digits(4), digits(2)
    image, label = train.images_NHW.copy(), train.labels_N.copy()
    image[3, 13, 13] += 1
    label[3] += 1
    made = [
        splits(train, test),
        splits(replace(train, images_NHW=image), test),
        splits(replace(train, labels_N=label), test),
        splits(train, digits(3)),
        splits(test, train),
    ]
    assert len({each.digest for each in made}) == len(made)
    assert splits(digits(4), digits(2)).digest == made[0].digest


def test_splits_are_labelled_with_their_name_and_how_they_were_prepared() -> None:
    assert splits(digits(4), digits(2)).label == "made"
    assert replace(splits(digits(4), digits(2)), options={"pooling": "max"}).label == "made, max pooling"


def test_arrays_of_other_types_or_shapes_have_other_digests() -> None:
    zeros = np.zeros((2, 2), np.int32)
    digests = [
        digest_of(zeros),
        digest_of(zeros.reshape(4)),
        digest_of(zeros[:1]),
        digest_of(zeros.astype(np.float32)),
        digest_of(zeros.astype(np.int64)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest_of(zeros, zeros) != digest_of(zeros)
    assert digest_of(zeros.T.copy().T) == digest_of(zeros)
