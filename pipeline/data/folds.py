"""K-fold splits of the training samples of one round."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.base.errors import InputError
from pipeline.base.seeds import derive
from pipeline.data.dataset import Indices


def split_folds(samples: Indices, folds: int, *, seed: int, round_: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield (training samples, validation samples) for each fold; every sample is validated exactly once.

    Raises InputError unless 2 <= folds <= number of samples.
    """
    from sklearn.model_selection import KFold  # a second to import, and only cross validation needs it

    check_folds(folds, len(samples))
    # scikit-learn takes 32-bit seeds only.
    splitter = KFold(folds, shuffle=True, random_state=derive(seed, "folds", "round", round_) % 2**32)
    for train, validation in splitter.split(samples):
        yield samples[train], samples[validation]


def check_folds(folds: int, count: int) -> None:
    """Raise InputError unless `count` samples can be split into `folds` parts."""
    if count < 2:
        raise InputError(
            f"cross validation needs at least 2 samples in a round, but there is {count}; use more --samples"
        )
    if not 2 <= folds <= count:
        raise InputError(f"the number of folds must lie between 2 and the {count} samples of a round, but got {folds}")
