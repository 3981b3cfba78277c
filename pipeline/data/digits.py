"""The digits themselves: plain arrays with their digest.

Axis letters everywhere in this package: R replica, N sample, B batch, F fold, E epoch, K class, D feature,
C channel, H and W the height and width of an image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class DigitSet:
    """Digits of one pool."""

    images_NHW: NDArray[np.float32]
    """Grey values, 0 (background) to 255."""
    labels_N: NDArray[np.int64]
    """The digit shown, 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels_N)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over images and labels, in hexadecimal."""
        return digest_of(self.images_NHW, self.labels_N)


@dataclass(frozen=True, kw_only=True)
class DigitPools:
    """The training and the test digits of one data set, reduced to 14x14."""

    name: str
    """The `--dataset` that they come from."""
    source: str
    """Where the digits came from, in words and with a version, path or address."""
    pooling: str
    """How 28x28 became 14x14: `average` or `max` of each 2x2 block."""
    train: DigitSet
    test: DigitSet

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the digests of both parts, in hexadecimal."""
        return hashlib.sha256(f"{self.train.digest}{self.test.digest}".encode()).hexdigest()


def digest_of(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 over the types, shapes and values of arrays, in hexadecimal."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
