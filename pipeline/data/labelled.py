"""Samples with their labels as a source gives them, before they are split and encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.data.imputation import check_imputation

SHOWN = 5
"""Rows that a message lists at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """N samples, each with what is to be predicted of it; a task makes `Splits` of them.

    Raises DataError where the parts do not fit together, where inputs are not of a type that a model reads, or are
    infinite or missing, and where a target is missing.
    """

    name: str
    """Of the data set, as it is logged."""
    source: str
    """Where it came from, in words and with a version, path or address."""
    x: NDArray[np.generic]
    """(N, ...) what a model reads: float32 numbers, NaN where one is missing; uint8 images (N, C, H, W); or int64
    indices, such as those of words, which reach the network as they are."""
    target: NDArray[np.generic]
    """(N,) numbers, or classes of any hashable type."""
    group: NDArray[np.generic] | None = None
    """(N,) samples with the same value stay on the same side of every split; None where each may go anywhere."""
    test: NDArray[np.bool_] | None = None
    """(N,) which samples the data set itself keeps for testing; None where it does not say."""
    features: tuple[str, ...] = ()
    """What the columns of `x` (N, D) are called; `colour=red` of a category."""
    impute: str = ""
    """How missing numbers are filled in: `mean`, `median` or `most_frequent` of the training samples; empty where there
    are none."""
    classes: tuple[str, ...] = ()
    """What the classes 0, 1, 2 ... of `target` are called; empty where their values say it."""

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_inputs()
        if (absent_N := is_missing(self.target)).any():
            raise DataError(f"every sample needs a target, but {self.name} has none {_samples(absent_N)}")
        if self.classes and not set(self.target.tolist()) <= set(range(len(self.classes))):
            raise DataError(f"classes that have names must be 0 to {len(self.classes) - 1}, but {self.name} has others")

    def _check_shapes(self) -> None:
        if self.x.ndim < 2:
            raise DataError(
                f"inputs must be of shape (N, ...) with an axis of features at least, but those of {self.name} are of "
                f"shape {self.x.shape}; make a single feature one column with x.reshape(-1, 1)"
            )
        if not self.x.size:
            raise DataError(
                f"a data set needs samples with features, but the inputs of {self.name} are of shape {self.x.shape}"
            )
        for what, array in (("target", self.target), ("group", self.group), ("test", self.test)):
            if array is not None and array.shape != self.x.shape[:1]:
                raise DataError(
                    f"each of the {len(self.x)} samples of {self.name} needs one {what}, but those given are of shape "
                    f"{array.shape}"
                )

    def _check_inputs(self) -> None:
        if self.x.dtype not in (np.float32, np.uint8, np.int64):
            raise DataError(
                f"inputs must be float32 numbers, uint8 images or int64 indices, but those of {self.name} are "
                f"{self.x.dtype}; convert them with x.astype"
            )
        check_imputation(self.impute)
        if self.x.dtype == np.float32:
            rows = tuple(range(1, self.x.ndim))
            if (infinite_N := np.isinf(self.x).any(axis=rows)).any():
                raise DataError(
                    f"inputs must be finite and below 3.4e38, but those of {self.name} are not {_samples(infinite_N)}; "
                    f"leave these samples out or correct them"
                )
            if not self.impute and (missing_N := np.isnan(self.x).any(axis=rows)).any():
                raise DataError(
                    f"no number may be missing (NaN), but some are {_samples(missing_N)} of {self.name}; choose how "
                    f'they are filled in, by --impute mean or from Python impute="mean", or leave these samples out'
                )


def is_missing(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(N,) which values are NaN, None or the like."""
    if values.dtype.kind in "fcmM":
        absent: NDArray[np.bool_] = np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values)
        return absent
    if values.dtype != object:
        return np.zeros(values.shape, dtype=np.bool_)
    from pandas import isna  # half a second to import

    return np.asarray(isna(values), dtype=np.bool_)


def _samples(chosen_N: NDArray[np.bool_]) -> str:
    """`in 7 samples (0, 3, 4, 8, 11 ...)`, counted from 0."""
    indices = np.flatnonzero(chosen_N)
    listed = ", ".join(map(str, indices[:SHOWN])) + (" ..." if len(indices) > SHOWN else "")
    return f"in sample {listed}" if len(indices) == 1 else f"in {len(indices)} samples ({listed})"
