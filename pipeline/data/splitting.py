"""Samples split once into a training and a test part, with their classes as numbers.

The split belongs to the data set, not to an experiment: its seed is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, InputError
from pipeline.base.seeds import numpy_generator
from pipeline.data.dataset import LabelledDataset, Splits
from pipeline.data.labelled import Labelled

MOST_CLASSES = 20
"""Distinct whole numbers that are taken for classes where nobody says what they are."""
LISTED = 5
"""Classes that a message names at most."""


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """Samples whose classes and groups are numbers from 0 on."""

    name: str
    target_N: NDArray[np.generic]
    classes: tuple[str, ...]
    """What classes are called; empty where targets are values."""
    group_N: NDArray[np.int64]
    """All -1 where there are no groups."""

    @property
    def stratum_N(self) -> NDArray[np.int64]:
        """What every part is to have about the same share of."""
        return self.target_N.astype(np.int64) if self.classes else np.zeros(len(self.target_N), dtype=np.int64)

    @property
    def is_grouped(self) -> bool:
        return bool(self.group_N[0] >= 0)


def split(data: Labelled, *, classes: bool, test_size: float) -> Splits:
    """The two parts: as the data set itself says, or else with a share of `test_size` of the samples for testing.

    With groups, whole groups go to either side; with `classes`, both sides have about the same share of each. Classes
    become int64 from 0 on in the order of their values, values float32.

    Raises InputError for an impossible `test_size`, and DataError where the samples cannot be split, or not learned.
    """
    if (data.x == data.x[:1]).all():
        raise DataError(
            f"inputs must say something of their samples, but all {len(data.x)} of {data.name} have the same; look at "
            f"what they are read from, or choose other features"
        )
    target_N, names = _classes(data) if classes else (_values(data), ())
    encoded = _Encoded(name=data.name, target_N=target_N, classes=names, group_N=_groups(data))
    test_N = data.test if data.test is not None else _held_out(encoded, test_size)
    _check_parts(encoded, test_N)
    train, test = (
        LabelledDataset(x_ND=data.x[part_N], target_N=target_N[part_N], group_N=encoded.group_N[part_N])
        for part_N in (~test_N, test_N)
    )
    how = "by whole groups" if encoded.is_grouped else "by class" if classes else "at random"
    return Splits(
        name=data.name,
        source=data.source,
        preparation="" if data.test is not None else f"a share of {test_size:g} held out for testing {how}",
        classes=names,
        features=data.features,
        impute=data.impute,
        train=train,
        test=test,
    )


def guess_task(target: NDArray[np.generic], classes: Sequence[str] = ()) -> tuple[str, str]:
    """What is learned from such a target: `classification`, `regression`, or nothing where it could be either; and why.
    `classes` says what the values are called, if they are.

    >>> guess_task(np.array(["oak", "beech"]))
    ('classification', 'the target is text')
    >>> guess_task(np.array([0.5, 1.0]))
    ('regression', 'the target has numbers with fractions')
    """
    if classes:
        return "classification", "the classes have names"
    if target.dtype == bool:
        return "classification", "the target is true or false"
    if target.dtype.kind not in "iuf":
        return "classification", "the target is text"
    if target.dtype.kind == "f" and (target != np.floor(target)).any():
        return "regression", "the target has numbers with fractions"
    distinct, count = len(np.unique(target)), len(target)
    if distinct <= min(MOST_CLASSES, max(2, count // 10)):
        return "classification", f"the target has {distinct} distinct whole numbers"
    if target.dtype.kind == "f":
        return "regression", f"the target has {distinct} distinct floating-point numbers"
    return "", f"the target has {distinct} distinct whole numbers among {count} samples"


def _classes(data: Labelled) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The classes (N,) from 0 on, and what they are called."""
    if data.target.dtype.kind == "f" and (fractions := data.target[data.target % 1 != 0]).size:
        raise DataError(
            f"a classification learns classes, but the target of {data.name} has values like {fractions[0]:.6g}; use "
            f"--task regression or another target"
        )
    labels = data.target.tolist()
    try:
        distinct = set(labels)
    except TypeError:
        raise DataError(f"classes must be text or numbers, but {data.name} has {labels[0]!r}") from None
    try:
        values = sorted(distinct)
    except TypeError:  # of several types
        values = sorted(distinct, key=str)
    names = [data.classes[value] if data.classes else _text(value) for value in values]
    if len(values) == 1:
        raise DataError(
            f"there must be two classes at least, but all samples of {data.name} are of class {names[0]}; "
            f"choose another target"
        )
    if alike := {name for name in names if names.count(name) > 1}:
        raise DataError(
            f"classes must be told apart by their names, but {data.name} has several that read {min(alike)}; give all "
            f"labels one type"
        )
    number = {value: index for index, value in enumerate(values)}
    return np.array([number[label] for label in labels], dtype=np.int64), tuple(names)


def _text(value: object) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _values(data: Labelled) -> NDArray[np.float32]:
    """The values (N,) to learn."""
    if data.target.dtype.kind not in "iuf":
        raise DataError(
            f"a regression learns numbers, but the target of {data.name} has values like {data.target.tolist()[0]!r}; "
            f"use --task classification or another target"
        )
    with np.errstate(over="ignore"):
        value_N = data.target.astype(np.float32)
    if not np.isfinite(value_N).all():
        raise DataError(f"targets must be finite and below 3.4e38, but some of {data.name} are not")
    if (value_N == value_N[0]).all():
        raise DataError(
            f"there is something to learn only from targets that differ, but all of {data.name} are {value_N[0]:g}"
        )
    return value_N


def _groups(data: Labelled) -> NDArray[np.int64]:
    """The groups (N,) from 0 on; all -1 where there are none."""
    if data.group is None:
        return np.full(len(data.target), -1, dtype=np.int64)
    number: dict[object, int] = {}
    return np.array([number.setdefault(group, len(number)) for group in data.group.tolist()], dtype=np.int64)


def _held_out(data: _Encoded, test_size: float) -> NDArray[np.bool_]:
    """Which samples (N,) are for testing."""
    if not 0 < test_size < 1:
        raise InputError(f"--test-size must be a share between 0 and 1, but got {test_size:g}")
    test_N = _whole_groups(data, test_size) if data.is_grouped else _of_each_class(data, test_size)
    if test_N.all() or not test_N.any():
        raise InputError(
            f"both parts of a data set need samples, but --test-size {test_size:g} leaves none of the {len(test_N)} of "
            f"{data.name} for {'training' if test_N.all() else 'testing'}; choose another"
        )
    return test_N


def _of_each_class(data: _Encoded, test_size: float) -> NDArray[np.bool_]:
    """Of each class about the same share, and one sample at least on either side."""
    stratum_N = data.stratum_N
    count_K = np.bincount(stratum_N)
    test_K = np.diff(np.rint(test_size * np.cumsum(count_K)), prepend=0).astype(np.int64)
    if data.classes:
        if few := np.flatnonzero(count_K < 2).tolist():
            raise DataError(
                f"each class needs 2 samples at least, one to train on and one to test on, but {data.name} has only 1 "
                f"of {_listed([data.classes[number] for number in few])}; leave it out, join it with another class, or "
                f"use --task regression if the target is a quantity"
            )
        test_K = np.clip(test_K, 1, count_K - 1)
    order = numpy_generator(0, "split").permutation(len(stratum_N))
    order = order[np.argsort(stratum_N[order], kind="stable")]
    test_N = np.zeros(len(order), dtype=np.bool_)
    for start, count in zip(np.cumsum(count_K) - count_K, test_K, strict=True):
        test_N[order[start : start + count]] = True
    return test_N


def _whole_groups(data: _Encoded, test_size: float) -> NDArray[np.bool_]:
    """Each group, in random order, is held out if that brings the number held out of each class nearer to its share."""
    groups, stratum_N = int(data.group_N.max()) + 1, data.stratum_N
    if groups < 2:
        raise DataError(
            f"groups stay on one side of a split, so there must be two at least, but all samples of {data.name} are of "
            f"the same; choose another --group"
        )
    count_GK = np.zeros((groups, int(stratum_N.max()) + 1))
    np.add.at(count_GK, (data.group_N, stratum_N), 1)
    missing_K = test_size * count_GK.sum(axis=0)
    nearest = np.abs(missing_K - count_GK).sum(axis=1).argmin()
    held_out = []
    for group in numpy_generator(0, "split").permutation(groups):
        if np.abs(missing_K - count_GK[group]).sum() <= np.abs(missing_K).sum():
            held_out.append(group)
            missing_K = missing_K - count_GK[group]
    return np.isin(data.group_N, held_out or [nearest])


def _check_parts(data: _Encoded, test_N: NDArray[np.bool_]) -> None:
    """Raise DataError where a part has nothing to learn or to measure, or where they share what they must not."""
    if data.classes and (unknown := np.setdiff1d(data.target_N[test_N], data.target_N[~test_N]).tolist()):
        raise DataError(
            f"a class can only be tested if there is one to train on, but the test part of {data.name} alone has "
            f"{_listed([data.classes[number] for number in unknown])}; leave it out, or split otherwise (--test-size)"
        )
    if data.is_grouped and len(shared := np.intersect1d(data.group_N[test_N], data.group_N[~test_N])):
        raise DataError(
            f"groups stay on one side of a split, but {len(shared)} of {data.name} have samples in both its own "
            f"training and its own test part; leave the groups out, or let the data be split anew"
        )
    for part, part_N in (("training", ~test_N), ("test", test_N)):
        answers = np.unique(data.target_N[part_N]).tolist()
        if len(answers) < 2:
            alone = f"{data.classes[answers[0]] if data.classes else answers[0]} alone" if answers else "no samples"
            raise DataError(
                f"each part of a data set needs two different targets at least, but the {part} part of {data.name} has "
                f"{alone}; use a larger data set, or another --test-size"
            )


def _listed(names: list[str]) -> str:
    """`a, b, c and 4 more`."""
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
