"""K-fold splits of the pairs of one round."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.data.pairs import Pairs
from pipeline.errors import InputError
from pipeline.seeds import derive


def split_folds(pairs: Pairs, folds: int, *, seed: int, round_: int) -> Iterator[tuple[Pairs, Pairs]]:
    """Yield (training pairs, validation pairs) for each fold; every pair is validated exactly once.

    Raises InputError unless 2 <= folds <= number of pairs.
    """
    from sklearn.model_selection import KFold  # a second to import, and only cross validation needs it

    check_folds(folds, len(pairs))
    # scikit-learn takes 32-bit seeds only.
    splitter = KFold(folds, shuffle=True, random_state=derive(seed, "folds", "round", round_) % 2**32)
    for train, validation in splitter.split(pairs):
        yield pairs[train], pairs[validation]


def check_folds(folds: int, n_pairs: int) -> None:
    """Raise InputError unless `n_pairs` can be split into `folds` parts."""
    if not 2 <= folds <= n_pairs:
        raise InputError(f"the number of folds must lie between 2 and the {n_pairs} pairs of a round, but got {folds}")
