from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.base.errors import DataError, UnknownNameError
from pipeline.data.arrays import arrays
from pipeline.data.labelled import Labelled
from pipeline.data.splitting import split


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.zeros((3, 2)), np.float32),
        (np.zeros((3, 2), np.float16), np.float32),
        (np.zeros((3, 2), np.bool_), np.float32),
        (np.zeros((3, 1, 4, 4), np.uint8), np.uint8),
        (np.zeros((3, 5), np.int32), np.int64),
        (np.zeros((3, 5), np.uint16), np.int64),
        ([[1.5], [2.5], [3.5]], np.float32),
        ([[1], [2], [3]], np.int64),
        (torch.zeros(3, 2, requires_grad=True), np.float32),
        (torch.zeros(3, 2, dtype=torch.bfloat16), np.float32),
        (torch.zeros(3, 2, dtype=torch.int64), np.int64),
        (pd.DataFrame({"a": [1, 2, 3]}), np.float32),
    ],
)
def test_inputs_become_one_of_three_types(x: Any, dtype: type) -> None:
    data = arrays(x, [0, 1, 0])
    assert data.x.dtype == dtype
    assert data.x.shape == tuple(np.shape(x.detach() if isinstance(x, torch.Tensor) else x))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (["a", "b", "a"], ["a", "b", "a"]),
        (np.array([[1], [0], [1]]), [1, 0, 1]),
        (torch.tensor([1, 0, 1]), [1, 0, 1]),
        (pd.Series(["a", "b", "a"], index=[7, 8, 9]), ["a", "b", "a"]),
        (pd.Series(["a", "b", "a"], dtype="category"), ["a", "b", "a"]),
        (pd.Series([1, 0, 1], dtype="Int64"), [1, 0, 1]),
        (np.array([1, 0, 1], dtype=object), [1, 0, 1]),
    ],
)
def test_targets_may_be_of_any_kind(y: Any, expected: list[Any]) -> None:
    assert arrays(np.zeros((3, 1)), y).target.tolist() == expected


def test_columns_of_a_data_frame_are_encoded() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"], "c": pd.array([True, False, True], dtype="boolean")})
    data = arrays(frame, [0, 1, 0])
    assert data.features == ("a", "b=x", "b=y", "c")
    assert data.x.tolist() == [[1, 1, 0, 1], [2, 0, 1, 0], [3, 1, 0, 1]]


def test_test_samples_are_kept_apart() -> None:
    data = arrays([[0.0], [1.0]], ["a", "b"], test=([[2.0], [3.0]], ["b", "a"]), group=["p", "q"])
    assert data.test is not None
    assert data.test.tolist() == [False, False, True, True]
    splits = split(data, classes=True, test_size=0.25)
    assert splits.test.arrays[0].tolist() == [[2], [3]]
    groups = splits.train.groups(np.array([[0], [1]], dtype=np.int32))
    assert groups is not None
    assert groups[0] != groups[1]


def test_categories_of_test_samples_have_columns_too() -> None:
    first, second = pd.DataFrame({"b": ["x", "y"]}), pd.DataFrame({"b": ["z", "x"]})
    data = arrays(first, [0, 1], test=(second, [0, 1]))
    assert data.features == ("b=x", "b=y", "b=z")


def test_missing_numbers_are_kept_to_be_filled_in() -> None:
    data = arrays([[1.0], [np.nan]], [0, 1], impute="mean")
    assert data.impute == "mean"
    assert np.isnan(data.x[1, 0])
    assert arrays([[1.0], [2.0]], [0, 1], impute="mean").impute == ""


@pytest.mark.parametrize(
    ("x", "y", "said", "message"),
    [
        ([1.0, 2.0], [0, 1], {}, r"shape \(2,\); make a single feature one column with x.reshape\(-1, 1\)"),
        (np.zeros((0, 2)), [], {}, r"of arrays are of shape \(0, 2\)"),
        (np.zeros((3, 2)), [0, 1], {}, "arrays has 3 samples and 2 targets"),
        (np.zeros((2, 2)), [[0, 1], [1, 0]], {}, r"shape \(2, 2\); make one-hot labels numbers with y.argmax"),
        (np.zeros((2, 2)), [0, 1], {"group": [1]}, r"each of the 2 samples of arrays needs one group, .* \(1,\)"),
        ([[1.0], [np.nan], [np.nan]], [0, 1, 0], {}, r"in 2 samples \(1, 2\) of arrays; choose .*--impute mean"),
        ([[1.0], [np.inf]], [0, 1], {}, "finite and below 3.4e38, but those of arrays are not in sample 1;"),
        ([[1.0], [1e39]], [0, 1], {}, "finite and below 3.4e38"),
        ([[1.0], [2.0]], [0.5, np.nan], {}, "1 of arrays have none, sample 1 first"),
        ([[1.0], [2.0]], ["a", None], {}, "1 of arrays have none, sample 1 first"),
        ([["a"], ["b"]], [0, 1], {}, "must be numbers, but those of arrays are <U1; .* pandas DataFrame"),
        (np.array([[1, "a"], [2, "b"]], dtype=object), [0, 1], {}, "objects such as 1; convert them"),
        ([[1.0, 2.0], [1.0]], [0, 1], {}, "each sample must be of the same shape"),
        (7, [0, 1], {}, "must be an array .* but got int"),
        ([[1.0], [2.0]], [0, 1], {"test": ([[1.0, 2.0]], [0])}, r"float32 of shape \(1, 2\), the others float32"),
        ([[1.0], [2.0]], [0, 1], {"test": ([[1.0]], [0, 1])}, "1 test samples and 2 test targets"),
        ([[1.0], [2.0]], [0, 1], {"test": ([[1.0]], ["a"])}, "some are numbers and some are not"),
        (pd.DataFrame({"a": [1, None]}), [0, 1], {}, r"in a \(1 of 2\); fill them in with impute='mean'"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), [0, 1], {}, "arrays has two that are called a"),
        (pd.DataFrame({"a": [1j, 2j]}), [0, 1], {}, "a holds complex128; .* the columns that you give"),
    ],
)
def test_what_cannot_be_learned_is_refused(x: Any, y: Any, said: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrays(x, y, **{"impute": "", **said})


def test_an_unknown_way_to_fill_in_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown impute 'meen'; did you mean mean"):
        arrays([[1.0], [2.0]], [0, 1], impute="meen")


def test_labelled_samples_are_checked_whoever_makes_them() -> None:
    x = np.zeros((2, 1))
    with pytest.raises(
        DataError, match="float32 numbers, uint8 images or int64 indices, but those of made are float64"
    ):
        Labelled(name="made", source="up", x=x, target=np.array([0, 1]))
    with pytest.raises(DataError, match="classes that have names must be 0 to 1, but made has others"):
        Labelled(name="made", source="up", x=x.astype(np.float32), target=np.array([0, 2]), classes=("a", "b"))
    with pytest.raises(DataError, match="every sample needs a target, but made has none in sample 1"):
        Labelled(name="made", source="up", x=x.astype(np.float32), target=np.array([0, np.nan]))
