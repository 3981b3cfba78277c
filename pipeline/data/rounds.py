"""One *round*: a draw of training and of test samples, each without replacement, so that no digit appears twice.

(All five reports; 1,000 + 1,000 samples unless a stage is told otherwise.)
"""

from __future__ import annotations

import logging
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.data.pools import Pool, Positions

log = logging.getLogger(__name__)


def draw_samples(name: str, pool: Pool, count: int, *, seed: int, round_: int) -> Positions:
    """The samples of one round, (count, parts), the same for every model.

    `name` says which pool is drawn from ("train" or "test"). Raises InputError when it is too small to give every
    sample parts of its own.
    """
    option = "--pairs" if name == "train" else "--test-pairs"
    if count > pool.samples:
        fewer = f"ask for at most {option} {pool.samples} or " if pool.samples else ""
        raise InputError(
            f"a round of {count} {pool.sample}s needs {pool.parts * count} distinct {pool.part}s, but the {name} pool "
            f"holds {len(pool)}; {fewer}use a larger data set"
        )
    positions = _order(len(pool), seed, name, round_)[: pool.parts * count].reshape(count, pool.parts).astype(np.int32)
    targets = pool.targets(positions)
    if (targets == targets[:1]).all():
        _warn(
            f"there are rounds in which all {count} {name} {pool.sample}s have the same answer, so that a model that "
            f"always gives it makes no error there; ask for more {option} or use a larger data set"
        )
    return positions


@lru_cache(maxsize=64)  # a plan draws the same rounds hundreds of times
def _order(size: int, seed: int, name: str, round_: int) -> NDArray[np.int64]:
    order: NDArray[np.int64] = numpy_generator(seed, "pairs", name, "round", round_).permutation(size)
    return order


@cache
def _warn(message: str) -> None:
    """Warn once, although stages draw the same round again and again."""
    log.warning(message)
