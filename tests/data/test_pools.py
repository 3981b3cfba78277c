from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import DataError
from pipeline.data.digits import DigitSet
from pipeline.data.pools import Pool, Pools, digest_of
from tests.data.pools import KINDS, digits, points


def test_pairs_hold_images_digits_and_whether_the_first_is_lesser_or_equal() -> None:
    pool = DigitSet(images_NHW=digits(4).images_NHW, labels_N=np.array([5, 3, 5, 9]))
    positions = np.array([[0, 1], [1, 0], [0, 2], [3, 2]], dtype=np.int32)
    samples = pool.gather(positions)
    assert samples.target_N.tolist() == [0, 1, 1, 0]
    assert samples.digits_NC.tolist() == [[5, 3], [3, 5], [5, 5], [9, 5]]
    for sample, (first, second) in zip(samples.x, positions, strict=True):
        np.testing.assert_array_equal(sample[0], pool.images_NHW[first])
        np.testing.assert_array_equal(sample[1], pool.images_NHW[second])


def test_points_hold_coordinates_and_whether_they_are_inside_but_no_digits() -> None:
    pool = points(6)
    samples = pool.gather(np.array([[5], [0], [3]], dtype=np.int32))
    np.testing.assert_array_equal(samples.x, pool.points_ND[[5, 0, 3]])
    assert samples.target_N.tolist() == [1, 0, 1]
    assert samples.digits_NC.shape == (3, 0)


@pytest.mark.parametrize("pool", KINDS.values(), ids=KINDS)
def test_samples_have_one_type_whatever_they_are_made_of(pool: Pool) -> None:
    samples = pool.gather(np.arange(2 * pool.parts, dtype=np.int32).reshape(2, pool.parts))
    assert samples.x.dtype == np.float32
    assert samples.target_N.dtype == samples.digits_NC.dtype == np.int64
    assert len(samples.x) == len(samples.target_N) == len(samples.digits_NC) == 2


@pytest.mark.parametrize(("count", "pairs"), [(0, 0), (1, 0), (2, 1), (19, 9), (20, 10)])
def test_a_pair_takes_two_parts_and_a_point_one(count: int, pairs: int) -> None:
    assert (digits(count).samples, points(count).samples) == (pairs, count)


def pools(train: Pool, test: Pool) -> Pools:
    return Pools(name="made", source="up", pooling="average", train=train, test=test)


@pytest.mark.parametrize(
    ("pool", "message"),
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
def test_pools_that_can_give_one_answer_alone_are_refused(pool: Pool, message: str, part: str) -> None:
    whole = KINDS[f"{pool.part}s"]
    with pytest.raises(DataError, match=message.format(part)):
        pools(*((pool, whole) if part == "training" else (whole, pool)))


def test_the_digest_changes_with_every_number_and_with_the_part_that_it_is_in() -> None:
    train, test = digits(4), digits(2)
    image, label = train.images_NHW.copy(), train.labels_N.copy()
    image[3, 13, 13] += 1
    label[3] += 1
    made = [
        pools(train, test),
        pools(replace(train, images_NHW=image), test),
        pools(replace(train, labels_N=label), test),
        pools(train, digits(3)),
        pools(test, train),
    ]
    assert len({each.digest for each in made}) == len(made)
    assert pools(digits(4), digits(2)).digest == made[0].digest


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
