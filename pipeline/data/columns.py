"""Columns of a table as numbers: those of numbers as they are, those of text as one column for each category."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, InputError, UnknownNameError
from pipeline.data.labelled import Labelled

if TYPE_CHECKING:
    from pandas import DataFrame, Series

log = logging.getLogger(__name__)
MOST_CATEGORIES = 100
"""Of a column; one with more is rather a name or a free text than a category."""
NEARLY_ALL = 0.9
"""The share of numbers from which on a column is meant to hold nothing else."""
SHOWN = 5
"""Rows and columns that a message lists at most."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a person gets at a table, for messages."""

    features: str
    """What chooses columns."""
    impute: str
    """What fills in missing numbers."""


COMMAND = Words(features="--features", impute="--impute mean, median or most_frequent")
PROGRAM = Words(features="the columns that you give", impute="impute='mean', 'median' or 'most_frequent'")


def table(
    frame: DataFrame, *, name: str, source: str, target: str, features: Sequence[str], group: str, impute: str
) -> Labelled:
    """The rows of a table as samples, from what the command line says of its columns.

    Raises InputError and UnknownNameError for columns that cannot be chosen so, and DataError where what they hold
    cannot be learned.
    """
    columns = list(frame.columns)
    if not target:
        raise InputError(f"a table needs --target, the column to predict: one of {_listed(columns)}")
    for asked in (target, *features, *([group] if group else [])):
        if asked not in columns:
            raise UnknownNameError(f"column of {name}", asked, columns)
    if target in (*features, group):
        what = "--group" if target == group else "among --features"
        raise InputError(f"the column that is predicted must be used for nothing else, but {target} is {what} as well")
    chosen = list(dict.fromkeys(features)) or [column for column in columns if column not in (target, group)]
    if unnamed := [column for column in chosen if not column or column.startswith("Unnamed: ")]:
        raise DataError(
            f"every column needs a name, but column {columns.index(unnamed[0]) + 1} of {name} has none; if it only "
            f"counts the rows, leave it out (pandas: to_csv(index=False)), or choose others with --features"
        )
    x, names = encode(frame[chosen], name=name, impute=impute, words=COMMAND)
    return Labelled(
        name=name,
        source=source,
        x=x,
        target=labels(frame[target], "target"),
        group=labels(frame[group], "group") if group else None,
        features=names,
        impute=impute if np.isnan(x).any() else "",
    )


def encode(
    frame: DataFrame, *, name: str, impute: str, words: Words = PROGRAM
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """(N, D) numbers and what their columns are called, `colour=red` of a category; NaN where a number is missing.

    Raises DataError for columns that hold neither numbers nor categories, or hold infinite numbers, for missing values
    unless `impute` says how to fill them in, and where no column tells samples apart.
    """
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"columns must have different names, but {name} has two that are called {twice}")
    if not frame.size:
        raise DataError(
            f"there must be rows, and columns to learn from, but {name} has {len(frame)} rows and "
            f"{len(frame.columns)} such columns"
        )
    _check_missing(frame, name, impute, words)
    parts, names = [], []
    for column in frame.columns:
        values, categories = _encode(frame[column], words)
        parts.append(values)
        names += [f"{column}={category}" for category in categories] or [str(column)]
    constant = [str(column) for column in frame.columns if frame[column].nunique() < 2]
    if len(constant) == len(frame.columns):
        raise DataError(f"samples must differ, but each column of {name} has the same value in all rows")
    if constant:
        log.warning("nothing can be learned from columns with the same value in all rows: %s", _listed(constant))
    return np.concatenate(parts, axis=1, dtype=np.float32), tuple(names)


def labels(column: Series, what: str) -> NDArray[np.generic]:
    """(N,) numbers, true and false, or text. Raises DataError where one is missing."""
    from pandas import CategoricalDtype
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype

    if (missing := column.isna()).any():
        raise DataError(
            f"every sample needs a {what}, but {column.name} is empty in {rows(missing.to_numpy())}; fill it in or "
            f"leave these samples out"
        )
    for is_kind, kind in ((is_bool_dtype, np.bool_), (is_integer_dtype, np.int64), (is_float_dtype, np.float64)):
        if is_kind(column.dtype) and not isinstance(column.dtype, CategoricalDtype):
            return np.asarray(column.to_numpy(dtype=kind))
    return np.asarray(column.to_numpy(dtype=object))


def rows(chosen_N: NDArray[np.bool_]) -> str:
    """`data rows 4, 7 and 9`, where the first sample is in row 1."""
    numbers = [str(index + 1) for index in np.flatnonzero(chosen_N)]
    return f"data row {numbers[0]}" if len(numbers) == 1 else f"data rows {_listed(numbers)}"


def _check_missing(frame: DataFrame, name: str, impute: str, words: Words) -> None:
    missing = frame.isna().sum()
    if empty := [str(column) for column in frame.columns if missing[column] == len(frame)]:
        raise DataError(
            f"a column must hold something, but all rows of {name} are empty in {_listed(empty)}; leave it out with "
            f"{words.features}"
        )
    found = [f"{column} ({missing[column]} of {len(frame)})" for column in frame.columns if missing[column]]
    if found and not impute:
        raise DataError(
            f"no value may be missing, but some are in {_listed(found)}; fill them in with {words.impute}, or leave "
            f"these rows or columns out"
        )


def _encode(column: Series, words: Words) -> tuple[NDArray[np.float32], list[str]]:
    """(N, 1) numbers; or (N, categories) ones and zeros, and the categories."""
    from pandas import CategoricalDtype
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype

    kind = column.dtype
    is_text = isinstance(kind, CategoricalDtype) or is_object_dtype(kind) or is_string_dtype(kind)
    if not is_text and (is_bool_dtype(kind) or is_numeric_dtype(kind)) and not is_complex_dtype(kind):
        with np.errstate(over="ignore"):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
        if (infinite := np.isinf(values)).any():
            raise DataError(f"numbers must be finite and below 3.4e38, but {column.name} is not in {rows(infinite)}")
        return values[:, None], []
    if not is_text:
        raise DataError(
            f"columns must hold numbers, true and false, or text, but {column.name} holds {kind}; make numbers of it, "
            f"or leave it out with {words.features}"
        )
    return _one_hot(column.astype(object).map(str, na_action="ignore"), words)


def _one_hot(text: Series, words: Words) -> tuple[NDArray[np.float32], list[str]]:
    """(N, categories) ones and zeros, all of them zeros where the text is missing; and the categories, sorted."""
    _check_not_numbers(text)
    categories = sorted(text.dropna().unique())
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"a column of text may hold at most {MOST_CATEGORIES} categories, but {text.name} holds {len(categories)} "
            f"in {len(text)} rows (such as {categories[0]!r}): probably a name, a date or a free text; leave it out "
            f"with {words.features}"
        )
    held = text.to_numpy(dtype=object)[:, None] == np.array(categories, dtype=object)
    return held.astype(np.float32), categories


def _check_not_numbers(text: Series) -> None:
    """Raise DataError for a column of numbers that became text by a few values that are none."""
    from pandas import to_numeric

    held = text.dropna()
    strange = to_numeric(held, errors="coerce").isna()
    if 0 < strange.sum() <= (1 - NEARLY_ALL) * len(held):
        faulty = text.isin(held[strange]).to_numpy()
        raise DataError(
            f"{text.name} holds numbers, but also {held[strange].iloc[0]!r} in {rows(faulty)}; correct it, or leave "
            f"the field empty where a number is missing"
        )


def _listed(names: Sequence[object]) -> str:
    """`a, b and c`, or `a, b, c, d, e and 4 more`."""
    shown = [str(name) for name in names]
    if len(shown) > SHOWN:
        shown[SHOWN:] = [f"{len(shown) - SHOWN} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
