"""One *round*: a draw of training and of test samples, each without replacement, so that no digit appears twice.

(All five reports; 1,000 + 1,000 samples unless a stage is told otherwise.)
"""

from __future__ import annotations

import numpy as np

from pipeline.data.pools import Pool, Positions
from pipeline.errors import InputError
from pipeline.seeds import numpy_generator


def draw_samples(name: str, pool: Pool, count: int, *, seed: int, round_: int) -> Positions:
    """The samples of one round, (count, parts), the same for every model.

    `name` says which pool is drawn from ("train" or "test"). Raises InputError when it is too small to give every
    sample parts of its own.
    """
    if count > pool.samples:
        raise InputError(
            f"a round of {count} {pool.sample}s needs {pool.parts * count} distinct {pool.part}s, but the {name} pool "
            f"holds {len(pool)}; ask for at most {'--pairs' if name == 'train' else '--test-pairs'} {pool.samples} or "
            f"use a larger data set"
        )
    order = numpy_generator(seed, "pairs", name, "round", round_).permutation(len(pool))
    return order[: pool.parts * count].reshape(count, pool.parts).astype(np.int32)
