"""What samples are drawn from: a pool for training and a pool for testing, which share nothing.

Axis letters everywhere in this package: R replica, N sample, B batch, F fold, E epoch, K class, D feature,
C channel, H and W the height and width of an image.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError

Positions = NDArray[np.int32]
"""(N, parts): where the parts of each sample stand in their pool; for a pair, the first and the second digit."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What a network is trained on."""

    x: NDArray[np.float32]
    """Pairs: (N, 2, 14, 14) grey values, 0 to 255, channel 0 the first digit. Points: (N, 2) coordinates."""
    target_N: NDArray[np.int64]
    """1 if the first digit is lesser than or equal to the second, or the point inside of the disc; else 0."""
    digits_NC: NDArray[np.int64]
    """(N, 2) the two digits of a pair; (N, 0) for points."""


@dataclass(frozen=True, kw_only=True)
class Pool(ABC):
    """The parts that samples are made of: arrays of equal length, of parts and of their labels."""

    sample: ClassVar[str]
    """What a sample is called."""
    part: ClassVar[str]
    """What its parts are called."""
    parts: ClassVar[int]
    """How many there are in a sample."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of parts."""

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """All parts and their labels."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def of(cls, *arrays: NDArray[np.generic]) -> Self:
        """The pool that has these `arrays`."""
        return cls(**dict(zip((field.name for field in fields(cls)), arrays, strict=True)))

    @abstractmethod
    def targets(self, positions: Positions) -> NDArray[np.int64]:
        """The answers of the samples made of the parts at these positions."""

    @abstractmethod
    def gather(self, positions: Positions) -> Samples:
        """The samples made of the parts at these positions."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything in the pool, in hexadecimal."""
        return digest_of(*self.arrays)

    @property
    def samples(self) -> int:
        """How many samples can be made without using a part twice."""
        return len(self) // self.parts


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The training and the test pool of one data set."""

    name: str
    """The `--dataset` that they come from."""
    source: str
    """Where they came from, in words and with a version, path or address."""
    pooling: str
    """How 28x28 became 14x14: `average` or `max` of each 2x2 block; empty for points."""
    train: Pool
    test: Pool

    def __post_init__(self) -> None:
        """Raise DataError where a pool can only give samples that all have the same answer, or none at all."""
        for part, pool in (("training", self.train), ("test", self.test)):
            if not pool.samples:
                raise DataError(
                    f"a {pool.sample} needs {pool.parts} distinct {pool.part}s, but the {part} pool of {self.source} "
                    f"holds {len(pool)}; use a larger data set"
                )
            labels = pool.arrays[-1]
            if labels.min() == labels.max():
                raise DataError(
                    f"each pool must hold {pool.part}s of two classes at least, but all {len(pool)} in the {part} pool "
                    f"of {self.source} are of class {labels[0]}, so every answer would be the same; use another data "
                    f"set"
                )

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
