"""Samples with their labels as a source gives them, before they are split and encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """N samples, each with what is to be predicted of it; a task makes `Splits` of them."""

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
