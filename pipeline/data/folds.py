"""K-fold splits of the training samples of one round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import InputError
from pipeline.base.seeds import derive, numpy_generator
from pipeline.data.dataset import Dataset, Indices


def split_folds(
    samples: Indices, folds: int, *, seed: int, round_: int, data: Dataset, classes: Sequence[str] = ()
) -> Iterator[tuple[Indices, Indices]]:
    """Yield (training samples, validation samples) for each fold; every sample is validated exactly once.

    Where the data set has groups, each is validated as a whole; where it has classes, every fold has as many of each
    as any other, but for one. `classes` says what they are called.

    Raises InputError unless 2 <= folds <= number of samples, of groups, and of samples of each class.
    """
    check_folds(folds, len(samples))
    stratum_N, group_N = data.strata(samples), data.groups(samples)
    if group_N is not None:
        strata_N = np.zeros_like(group_N) if stratum_N is None else stratum_N
        fold_N = _by_group(group_N, strata_N, folds, numpy_generator(seed, "folds", "round", round_))
    elif stratum_N is not None:
        fold_N = _by_class(stratum_N, folds, numpy_generator(seed, "folds", "round", round_), classes)
    else:
        fold_N = _at_random(samples, folds, derive(seed, "folds", "round", round_))
    for fold in range(folds):
        yield samples[fold_N != fold], samples[fold_N == fold]


def check_folds(folds: int, count: int) -> None:
    """Raise InputError unless `count` samples can be split into `folds` parts."""
    if count < 2:
        raise InputError(
            f"cross validation needs at least 2 samples in a round, but there is {count}; use a larger --train-size"
        )
    if not 2 <= folds <= count:
        raise InputError(f"the number of folds must lie between 2 and the {count} samples of a round, but got {folds}")


def _at_random(samples: Indices, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold (N,) in which each sample is validated."""
    from sklearn.model_selection import KFold  # a second to import, and only cross validation needs it

    fold_N = np.empty(len(samples), dtype=np.int64)
    # scikit-learn takes 32-bit seeds only.
    splitter = KFold(folds, shuffle=True, random_state=seed % 2**32)
    for fold, (_, validation) in enumerate(splitter.split(samples)):
        fold_N[validation] = fold
    return fold_N


def _by_class(
    stratum_N: NDArray[np.int64], folds: int, generator: np.random.Generator, classes: Sequence[str]
) -> NDArray[np.int64]:
    """Shuffled, sorted by class, and dealt out like cards: so folds are of equal size as well."""
    values, counts = np.unique(stratum_N, return_counts=True)
    if (rarest := counts.min()) < folds:
        value = int(values[counts.argmin()])
        raise InputError(
            f"each of {folds} folds needs a sample of every class, but of class {classes[value] if classes else value} "
            f"there {'is' if rarest == 1 else 'are'} {rarest} in a round; use fewer --folds, a larger --train-size, or "
            f"leave that class out"
        )
    order = generator.permutation(len(stratum_N))
    order = order[np.argsort(stratum_N[order], kind="stable")]
    fold_N = np.empty(len(order), dtype=np.int64)
    fold_N[order] = np.arange(len(order)) % folds
    return fold_N


def _by_group(
    group_N: NDArray[np.int64], stratum_N: NDArray[np.int64], folds: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The largest group first, each goes to the fold that has least of its classes, and of all samples among equals."""
    groups, place_N = np.unique(group_N, return_inverse=True)
    if len(groups) < folds:
        raise InputError(
            f"each of {folds} folds needs a group of its own, but a round has samples of {len(groups)}; use fewer "
            f"--folds or a larger --train-size"
        )
    count_GK = np.zeros((len(groups), int(stratum_N.max()) + 1), dtype=np.int64)
    np.add.at(count_GK, (place_N, stratum_N), 1)
    share_GK = count_GK / np.maximum(count_GK.sum(axis=0), 1)
    order = generator.permutation(len(groups))
    held_FK = np.zeros((folds, count_GK.shape[1]), dtype=np.int64)
    fold_G = np.empty(len(groups), dtype=np.int64)
    for group in order[np.argsort(-count_GK[order].sum(axis=1), kind="stable")]:
        fold_G[group] = np.lexsort((held_FK.sum(axis=1), held_FK @ share_GK[group]))[0]
        held_FK[fold_G[group]] += count_GK[group]
    return fold_G[place_N]
