from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import DataError, InputError, VariantlabError
from pipeline.data.dataset import Splits
from pipeline.data.splitting import guess_task, split
from tests.data.labelled import labelled, rows

CLASSES = st.integers(2, 5).flatmap(lambda classes: st.lists(st.integers(0, classes - 1), min_size=4, max_size=80))


def of_both(splits: Splits) -> list[int]:
    return sorted([*rows(splits.train), *rows(splits.test)])


@given(target=CLASSES, test_size=st.floats(0.05, 0.95))
def test_every_sample_is_in_one_part_and_every_class_in_both_by_its_share(target: list[int], test_size: float) -> None:
    counts = [count for count in np.bincount(target).tolist() if count]
    if len(counts) < 2 or min(counts) < 2:
        with pytest.raises(DataError):
            split(labelled(target), classes=True, test_size=test_size)
        return
    splits = split(labelled(target), classes=True, test_size=test_size)
    assert of_both(splits) == list(range(len(target)))
    tested = np.bincount(splits.test.labels.astype(np.int64), minlength=len(counts)).tolist()
    for count, held_out in zip(counts, tested, strict=True):
        assert 1 <= held_out <= count - 1
        assert abs(held_out - test_size * count) <= 1 or held_out in (1, count - 1)


@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=30, max_size=60, unique=True))
def test_values_are_split_by_the_share_of_all_samples(values: list[float]) -> None:
    splits = split(labelled(values), classes=False, test_size=0.25)
    assert of_both(splits) == list(range(len(values)))
    assert len(splits.test) == round(0.25 * len(values))
    assert splits.train.labels.dtype == np.float32
    assert splits.classes == ()


@given(data=st.data(), groups=st.integers(2, 12), count=st.integers(12, 60), classes=st.booleans())
def test_no_group_is_on_both_sides(data: st.DataObject, groups: int, count: int, classes: bool) -> None:
    group = data.draw(st.lists(st.integers(0, groups - 1), min_size=count, max_size=count))
    target = [index % 2 for index in range(count)]
    try:
        splits = split(labelled(target, group=group), classes=classes, test_size=0.25)
    except VariantlabError:  # the groups of a side may all have one class
        return
    assert of_both(splits) == list(range(count))
    held_out = {group[row] for row in rows(splits.test)}
    assert held_out.isdisjoint(group[row] for row in rows(splits.train))


def test_many_groups_are_split_by_the_share_of_samples_and_of_classes() -> None:
    group = [f"patient {index // 4}" for index in range(400)]
    target = ["ill" if index < 100 else "well" for index in range(400)]
    splits = split(labelled(target, group=group), classes=True, test_size=0.25)
    assert 96 <= len(splits.test) <= 104
    assert 22 <= splits.test.labels.tolist().count(0) <= 28
    assert splits.train.groups(np.arange(300, dtype=np.int32)[:, None]) is not None
    assert not splits.train.even_folds


def test_a_test_part_of_its_own_is_kept() -> None:
    test = [False, True, False, True, False, True]
    splits = split(labelled(["a", "b", "b", "a", "a", "a"], test=test), classes=True, test_size=0.25)
    assert (rows(splits.train), rows(splits.test)) == ([0, 2, 4], [1, 3, 5])
    assert splits.preparation == ""


def test_the_split_belongs_to_the_data() -> None:
    made = [split(labelled([0, 1] * 20), classes=True, test_size=0.25) for _ in range(2)]
    assert made[0].digest == made[1].digest
    assert made[0].preparation == "a share of 0.25 held out for testing by class"


@pytest.mark.parametrize(
    ("target", "names", "numbers"),
    [
        (["oak", "ash", "oak", "ash"], ("ash", "oak"), [1, 0, 1, 0]),
        ([10, 9, 10, 9], ("9", "10"), [1, 0, 1, 0]),
        ([2.0, 1.0, 2.0, 1.0], ("1", "2"), [1, 0, 1, 0]),
        ([True, False, True, False], ("False", "True"), [1, 0, 1, 0]),
        (["b", 7, "b", 7], ("7", "b"), [1, 0, 1, 0]),
        ([("x", 1), ("w", 2), ("x", 1), ("w", 2)], ("('w', 2)", "('x', 1)"), [1, 0, 1, 0]),
    ],
    ids=["text", "numbers", "whole numbers as floats", "bool", "of two types", "tuples"],
)
def test_classes_are_numbered_in_the_order_of_their_values(
    target: list[Any], names: tuple[str, ...], numbers: list[int]
) -> None:
    if isinstance(target[0], tuple):
        array = np.empty(len(target), dtype=object)
        array[:] = target
        target = array  # type: ignore[assignment]
    data = labelled(target, test=[False, False, True, True])
    splits = split(data, classes=True, test_size=0.5)
    assert splits.classes == names
    assert [*splits.train.labels.tolist(), *splits.test.labels.tolist()] == numbers


def test_names_of_numbered_classes_are_kept() -> None:
    names = ("shirt", "bag", "coat")
    splits = split(labelled([0, 2, 0, 2], classes=names), classes=True, test_size=0.5)
    assert splits.classes == ("shirt", "coat")


@pytest.mark.parametrize(
    ("target", "said", "message"),
    [
        (["a"] * 6, {}, "two classes at least, but all samples of made are of class a"),
        (["a", "a", "b", "b", "c", "d"], {}, "only 1 of c, d; leave it out, .* --task regression"),
        ([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5], {}, r"classification learns classes, .* values like 0.5"),
        ([1, "1", 1, "1"], {}, "several that read 1; give all labels one type"),
        (["a", "a", "b", "c"], {"test": [0, 0, 1, 1]}, "the test part of made alone has b, c"),
        (["a", "b", "a", "a"], {"test": [0, 0, 1, 1]}, "the test part of made has a alone"),
        (["a", "b", "a", "b"], {"test": [1, 1, 1, 1]}, "the test part of made alone has a, b"),
        (["a", "b", "a", "b"], {"test": [0, 0, 0, 0]}, "the test part of made has no samples"),
        (["a", "b", "a", "b"], {"group": ["p"] * 4}, "two at least, but all samples of made are of the same"),
        (["a", "b"] * 2, {"group": [1, 2, 1, 3], "test": [0, 0, 1, 1]}, "1 of made have samples in both"),
    ],
)
def test_classes_that_cannot_be_learned_or_tested_are_refused(
    target: list[Any], said: dict[str, Any], message: str
) -> None:
    if "test" in said:
        said = {**said, "test": np.array(said["test"], dtype=bool)}
    with pytest.raises(DataError, match=message):
        split(labelled(target, **said), classes=True, test_size=0.25)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (["a", "b"] * 4, "regression learns numbers, but the target of made has values like 'a'"),
        ([2.0] * 8, "all of made are 2"),
        ([1e39, 1.0, 2.0, 3.0], "finite and below 3.4e38"),
        ([1.0, 2.0, 3.0], "the test part of made has [0-9.]+ alone"),
    ],
)
def test_values_that_cannot_be_learned_are_refused(target: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(labelled(target), classes=False, test_size=0.25)


@pytest.mark.parametrize("test_size", [-0.1, 0.0, 1.0, 25.0, float("nan")])
def test_an_impossible_share_is_refused(test_size: float) -> None:
    with pytest.raises(InputError, match="--test-size must be a share between 0 and 1, but got"):
        split(labelled([0, 1] * 4), classes=True, test_size=test_size)


@pytest.mark.parametrize(("test_size", "part"), [(0.01, "testing"), (0.99, "training")])
def test_a_share_that_leaves_a_part_empty_is_refused(test_size: float, part: str) -> None:
    with pytest.raises(InputError, match=f"leaves none of the 8 of made for {part}"):
        split(labelled([0.5, 1.5] * 4), classes=False, test_size=test_size)


@pytest.mark.parametrize(
    ("target", "task", "why"),
    [
        (np.array(["a", "b"]), "classification", "text"),
        (np.array(["a", 1], dtype=object), "classification", "text"),
        (np.array([True, False]), "classification", "true or false"),
        (np.array([0, 1]), "classification", "2 distinct whole numbers"),
        (np.arange(200) % 20, "classification", "20 distinct whole numbers"),
        (np.arange(30.0) % 3, "classification", "3 distinct whole numbers"),
        (np.array([0.0, 1.5]), "regression", "fractions"),
        (np.arange(2100) % 21, "", "21 distinct whole numbers among 2100 samples"),
        (np.arange(29) % 3, "", "3 distinct whole numbers among 29 samples"),
    ],
)
def test_the_task_is_guessed_where_the_target_says_it(target: Any, task: str, why: str) -> None:
    guessed, reason = guess_task(target)
    assert guessed == task
    assert why in reason
    assert guess_task(target, ("a", "b")) == ("classification", "the classes have names")
