"""One *round*: a draw of training and of test samples, each without replacement, so that no item appears twice."""

from __future__ import annotations

import logging
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.base.stored import STREAM
from pipeline.data.dataset import Dataset, Indices

log = logging.getLogger(__name__)


def draw_samples(name: str, data: Dataset, count: int, *, seed: int, round_: int) -> Indices:
    """The samples of one round, (count, items of a sample), the same for every model.

    `name` says which part is drawn from ("train" or "test"). Raises InputError when it is too small to give every
    sample items of its own.
    """
    option, items = "--train-size" if name == "train" else "--test-samples", data.items_per_sample
    if count > data.samples:
        fewer = f"ask for at most {option} {data.samples} or " if data.samples else ""
        raise InputError(
            f"a round of {count} {data.sample_name}s needs {items * count} distinct {data.item_name}s, but the {name} "
            f"pool holds {len(data)}; {fewer}use a larger data set"
        )
    indices = _order(len(data), seed, name, round_)[: items * count].reshape(count, items).astype(np.int32)
    targets = data.targets(indices)
    if (targets == targets[:1]).all():
        _warn(
            f"there are rounds in which all {count} {name} {data.sample_name}s have the same answer, so that a model "
            f"that always gives it makes no error there; ask for more with {option} or use a larger data set"
        )
    return indices


def resampled(samples: Indices, *, seed: int, round_: int) -> Indices:
    """As many of the samples of a round, drawn with replacement: some appear several times, others not at all."""
    drawn = numpy_generator(seed, "resampled", "round", round_).integers(len(samples), size=len(samples))
    return samples[drawn]


@lru_cache(maxsize=64)  # a plan draws the same rounds hundreds of times
def _order(size: int, seed: int, name: str, round_: int) -> NDArray[np.int64]:
    order: NDArray[np.int64] = numpy_generator(seed, STREAM, name, "round", round_).permutation(size)
    return order


@cache
def _warn(message: str) -> None:
    """Warn once, although stages draw the same round again and again."""
    log.warning(message)
