"""Pairs of digits: is the first lesser than or equal to the second?

One *round* is a draw of training pairs and of test pairs, each without replacement: no digit appears twice in it.
(All five reports; 1,000 + 1,000 pairs unless a stage is told otherwise.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.digits import DigitSet
from pipeline.errors import InputError
from pipeline.seeds import numpy_generator

Pairs = NDArray[np.int32]
"""(N, 2): positions of the first and the second digit in their pool."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Pairs with their images and targets."""

    x_NCHW: NDArray[np.float32]
    """(N, 2, 14, 14) grey values, 0 to 255; channel 0 is the first digit."""
    target_N: NDArray[np.int64]
    """1 if the first digit is lesser than or equal to the second, else 0."""
    digits_NC: NDArray[np.int64]
    """(N, 2) the two digits, for the auxiliary loss."""


def draw_pairs(pool: str, n_digits: int, n_pairs: int, *, seed: int, round_: int) -> Pairs:
    """The pairs of one round, (n_pairs, 2), the same for every model.

    `pool` names the digits that are drawn from ("train" or "test").
    Raises InputError when the pool is too small to give every pair two digits of its own.
    """
    if 2 * n_pairs > n_digits:
        raise InputError(
            f"a round of {n_pairs} pairs needs {2 * n_pairs} distinct digits, but the {pool} pool holds {n_digits}; "
            f"ask for at most --pairs {n_digits // 2} or use a larger data set"
        )
    order = numpy_generator(seed, "pairs", pool, "round", round_).permutation(n_digits)
    return order[: 2 * n_pairs].reshape(n_pairs, 2).astype(np.int32)


def gather(digits: DigitSet, pairs: Pairs) -> Samples:
    """The samples behind pairs (N, 2) of positions in `digits`."""
    labels_NC = digits.labels_N[pairs]
    return Samples(
        x_NCHW=digits.images_NHW[pairs],
        target_N=(labels_NC[:, 0] <= labels_NC[:, 1]).astype(np.int64),
        digits_NC=labels_NC,
    )
