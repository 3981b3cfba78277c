"""Samples that a program has in memory: NumPy arrays, torch tensors, pandas tables, lists."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.data.columns import PROGRAM, encode
from pipeline.data.imputation import check_imputation
from pipeline.data.labelled import Labelled, is_missing

X_NAMES, Y_NAMES = ("x", "X", "x_train", "X_train"), ("y", "Y", "y_train")
X_TEST_NAMES, Y_TEST_NAMES = ("x_test", "X_test"), ("y_test", "Y_test")


def arrays(
    x: Any, y: Any, *, group: Any = None, test: tuple[Any, Any] | None = None, name: str = "arrays", impute: str = ""
) -> Labelled:
    """Samples (N, ...) and what is to be predicted of them (N,).

    >>> arrays([[1.5], [2.5]], ["small", "large"]).x.dtype
    dtype('float32')

    Numbers with fractions become float32 and true and false 0 and 1. Bytes (uint8) stay as they are, for images
    (N, C, H, W). Other whole numbers stay whole, as indices of words and the like; convert them to float to have them
    as quantities. Columns of a pandas table are encoded as those of a CSV file: numbers as float32, text as a column
    for each category.

    Args:
        x: array-like (N, ...), or a pandas DataFrame.
        y: labels or values (N,).
        group: (N,) samples with the same value stay on the same side of every split.
        test: (x, y) of samples that are for testing; where there are none, a part of the others is held out.
        name: what the data are called in tables and pictures.
        impute: how NaN is filled in: `mean`, `median` or `most_frequent` of training samples; refused if empty.

    Raises DataError where they do not fit together, or cannot be learned, and UnknownNameError for another `impute`.
    """
    check_imputation(impute)
    count = _length(x)
    group_N = None if group is None else _labels(group, "group", name)
    target_N, test_N = _labels(y, "target", name), None
    if count != len(target_N):
        raise DataError(f"each sample needs one target, but {name} has {count} samples and {len(target_N)} targets")
    if test is not None:
        x, target_N, test_N = _joined(x, target_N, test, name)
        if group_N is not None and len(group_N) == count:
            _, codes_N = np.unique(group_N.astype(str), return_inverse=True)
            group_N = np.concatenate([codes_N, np.full(len(target_N) - count, -1)])
    features: tuple[str, ...] = ()
    x_ND: NDArray[np.generic]
    if _is_frame(x):
        x_ND, features = encode(x, name=name, impute=impute, words=PROGRAM)
    else:
        x_ND = _inputs(x, name)
    return Labelled(
        name=name,
        source=f"{len(target_N)} samples in memory",
        x=x_ND,
        target=target_N,
        group=group_N,
        test=test_N,
        features=features,
        impute=impute if x_ND.dtype == np.float32 and np.isnan(x_ND).any() else "",
    )


def named_arrays(found: Mapping[str, Any], *, name: str, impute: str) -> Labelled:
    """The same from what is called x and y (or X, x_train ...), and perhaps group, x_test and y_test.

    Raises DataError where x or y is not there.
    """

    def one(names: tuple[str, ...]) -> Any:
        return next((found[each] for each in names if each in found), None)

    x, y, x_test, y_test = map(one, (X_NAMES, Y_NAMES, X_TEST_NAMES, Y_TEST_NAMES))
    if x is None or y is None:
        raise DataError(f"there must be x (samples) and y (targets), but {name} has {', '.join(found) or 'nothing'}")
    if (x_test is None) != (y_test is None):
        raise DataError(f"test samples need x_test and y_test, but {name} has one of them alone")
    test = None if x_test is None else (x_test, y_test)
    return arrays(x, y, group=found.get("group"), test=test, name=name, impute=impute)


def _is_frame(x: Any) -> bool:
    pandas = sys.modules.get("pandas")  # half a second to import, which whoever has a table has done
    return pandas is not None and isinstance(x, pandas.DataFrame)


def _length(x: Any) -> int:
    try:
        return len(x)
    except TypeError:
        raise DataError(f"samples must be an array (N, ...), but got {type(x).__name__}") from None


def _joined(
    x: Any, target_N: NDArray[np.generic], test: tuple[Any, Any], name: str
) -> tuple[Any, NDArray[np.generic], NDArray[np.bool_]]:
    """All samples, all targets, and which of them are for testing."""
    x_test, target_test_N = test[0], _labels(test[1], "test target", name)
    count = _length(x_test)
    if count != len(target_test_N):
        raise DataError(
            f"each sample needs one target, but {name} has {count} test samples and {len(target_test_N)} test targets"
        )
    if _is_frame(x) != _is_frame(x_test) or (_is_frame(x) and list(x.columns) != list(x_test.columns)):
        raise DataError(f"test samples must have the columns of the others, but those of {name} have others")
    if _is_frame(x):
        from pandas import concat

        both = concat([x, x_test], ignore_index=True)
    else:
        parts = [_inputs(each, name) for each in (x, x_test)]
        if parts[0].shape[1:] != parts[1].shape[1:] or parts[0].dtype != parts[1].dtype:
            first, second = (f"{part.dtype} of shape {part.shape}" for part in parts)
            raise DataError(
                f"test samples must be like the others, but those of {name} are {second}, the others {first}"
            )
        both = np.concatenate(parts)
    kinds = {np.issubdtype(each.dtype, np.number) for each in (target_N, target_test_N)}
    if len(kinds) > 1:
        raise DataError(f"test targets must be like the others, but of {name} some are numbers and some are not")
    is_test_N = np.arange(len(target_N) + count) >= len(target_N)
    return both, np.concatenate([target_N, target_test_N]), is_test_N


def _array(values: Any, what: str, name: str) -> NDArray[np.generic]:
    if hasattr(values, "detach"):  # a torch tensor, perhaps on a GPU; NumPy has no bfloat16
        values = values.detach().cpu()
        values = values.float().numpy() if "bfloat16" in str(values.dtype) else values.numpy()
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(f"each {what} must be of the same shape, but those of {name} are of several") from None


def _inputs(x: Any, name: str) -> NDArray[np.generic]:
    """As float32, uint8 or int64."""
    array = _array(x, "sample", name)
    kind = array.dtype.kind
    if kind in "fb":
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if kind in "iu":
        return array if array.dtype == np.uint8 else array.astype(np.int64)
    held = f"{array.dtype}" if kind != "O" or not array.size else f"objects such as {array.flat[0]!r:.60}"
    raise DataError(
        f"samples must be numbers, but those of {name} are {held}; convert them (x.astype('float32')), or give a "
        f"pandas DataFrame, whose columns of text become categories"
    )


def _labels(y: Any, what: str, name: str) -> NDArray[np.generic]:
    """(N,) of any type."""
    if hasattr(y, "to_numpy") and str(getattr(y, "dtype", "")) == "category":
        y = y.to_numpy()
    labels = _array(y, what, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        out = "; make one-hot labels numbers with y.argmax(axis=1)" if labels.ndim == 2 else ""
        raise DataError(f"there must be one {what} for each sample, but {name} has them of shape {labels.shape}{out}")
    if (absent := is_missing(labels)).any():
        first = int(np.flatnonzero(absent)[0])
        raise DataError(
            f"every sample needs a {what}, but {int(absent.sum())} of {name} have none, sample {first} first; leave "
            f"these samples out"
        )
    if labels.dtype == object and all(isinstance(each, bool | int | float | np.number) for each in labels):
        return np.array(labels.tolist())
    return labels
