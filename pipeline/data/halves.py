"""Arrays of samples split once into a training and a test part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.seeds import derive
from pipeline.data.dataset import ArrayDataset, Splits


def halves(
    name: str, source: str, x_ND: NDArray[np.float32], target_N: NDArray[np.generic], *, by_class: bool = False
) -> Splits:
    """Two parts of equal size, the same for every experiment; `by_class` each has as many samples of every class.

    >>> splits = halves("line", "made up", np.zeros((6, 1), np.float32), np.arange(6, dtype=np.float32))
    >>> len(splits.train), len(splits.test)
    (3, 3)
    """
    from sklearn.model_selection import train_test_split  # a second to import

    # The split belongs to the data set, not to an experiment: its seed is fixed.
    train, test = train_test_split(
        np.arange(len(target_N)),
        train_size=0.5,
        stratify=target_N if by_class else None,
        random_state=derive(0, name, "split") % 2**32,
    )
    parts = [ArrayDataset(x_ND=x_ND[part], target_N=target_N[part]) for part in (train, test)]
    return Splits(name=name, source=source, train=parts[0], test=parts[1])
