"""What samples are drawn from: a data set for training and one for testing, which share nothing.

Axis letters everywhere in this package: R replica, N sample, B batch, F fold, E epoch, K class, D feature,
C channel, H and W the height and width of an image.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int32]
"""(N, items of a sample): which items of a data set each sample is made of."""
Samples = Mapping[str, NDArray[np.generic]]
"""`x` (N, ...), `target` (N, ...), and whatever else an objective or a metric reads, by name."""
Batch = Mapping[str, "Tensor"]
"""The same of R replicas, as tensors (R, B, ...)."""


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Items of which samples are made: arrays of equal length."""

    sample_name: ClassVar[str] = "sample"
    """What a sample is called in messages, in the singular."""
    item_name: ClassVar[str] = "sample"
    """What an item is called."""
    items_per_sample: ClassVar[int] = 1

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """All items and their labels."""
        return tuple(getattr(self, each.name) for each in fields(self))

    @classmethod
    def of(cls, *arrays: NDArray[np.generic]) -> Self:
        """The data set that has these `arrays`."""
        return cls(**dict(zip((each.name for each in fields(cls)), arrays, strict=True)))

    @property
    def labels(self) -> NDArray[np.generic]:
        """(items, ...) what each item is labelled with: the last of the arrays, unless a data set says otherwise."""
        return self.arrays[-1]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.labels)

    @abstractmethod
    def targets(self, indices: Indices) -> NDArray[np.generic]:
        """(N, ...) the answers of the samples made of these items."""

    @abstractmethod
    def gather(self, indices: Indices) -> Samples:
        """The samples made of these items."""

    def strata(self, indices: Indices) -> NDArray[np.int64] | None:
        """(N,) the class of each sample, where every fold is to have as many of a class as any other."""
        return None

    def groups(self, indices: Indices) -> NDArray[np.int64] | None:
        """(N,) the group of each sample, where those of a group must not be parted."""
        return None

    @property
    def even_folds(self) -> bool:
        """Whether a sample may go to any fold, so that all can be of equal size."""
        return True

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all items and labels, in hexadecimal."""
        return digest_of(*self.arrays)

    @property
    def samples(self) -> int:
        """How many samples can be made without using an item twice."""
        return len(self) // self.items_per_sample


@dataclass(frozen=True, kw_only=True)
class ArrayDataset(Dataset):
    """Samples that are rows of arrays, each an item of its own.

    >>> data = ArrayDataset(x_ND=np.zeros((3, 2), np.float32), target_N=np.array([0, 1, 1]))
    >>> sorted(data.gather(np.array([[2], [0]])))
    ['target', 'x']
    """

    x_ND: NDArray[np.generic]
    """(N, ...) what a model reads: float32 numbers, uint8 images or int64 indices."""
    target_N: NDArray[np.generic]
    """(N,) classes as int64, or values as float32."""

    def targets(self, indices: Indices) -> NDArray[np.generic]:
        """The targets of these rows (N, 1)."""
        return self.target_N[indices[:, 0]]

    def gather(self, indices: Indices) -> Samples:
        """These rows (N, 1)."""
        return {"x": self.x_ND[indices[:, 0]], "target": self.targets(indices)}


@dataclass(frozen=True, kw_only=True)
class LabelledDataset(ArrayDataset):
    """The same of which folds keep the balance of classes, and groups together."""

    group_N: NDArray[np.int64]
    """(N,) samples of the same group stay together; -1 where there are no groups."""

    @property
    def labels(self) -> NDArray[np.generic]:
        """(N,) the targets."""
        return self.target_N

    def strata(self, indices: Indices) -> NDArray[np.int64] | None:
        """(N,) the classes of these rows (N, 1); None of values."""
        return self.targets(indices).astype(np.int64) if self.target_N.dtype.kind == "i" else None

    def groups(self, indices: Indices) -> NDArray[np.int64] | None:
        """(N,) the groups of these rows (N, 1), if there are groups."""
        return None if self.even_folds else self.group_N[indices[:, 0]]

    @property
    def even_folds(self) -> bool:
        """Whether there are no groups."""
        return bool((self.group_N < 0).all())


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The training and the test part of one data set."""

    name: str
    """Of the data set, as it is logged."""
    source: str
    """Where they came from, in words and with a version, path or address."""
    options: Mapping[str, str] = field(default_factory=dict)
    """How they were prepared, as it was asked for: option -> value."""
    preparation: str = ""
    """The same in words; empty where there was nothing to prepare."""
    classes: tuple[str, ...] = ()
    """What the classes 0, 1, 2 ... are called; empty where the task knows, or where there are none."""
    features: tuple[str, ...] = ()
    """What the columns of `x` (N, D) are called; empty where nobody says."""
    impute: str = ""
    """How NaN in `x` is filled in: `mean`, `median` or `most_frequent` of training samples; empty where it has none."""
    train: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        """Raise DataError where a part can only give samples that all have the same answer, or none at all."""
        for part, data in (("training", self.train), ("test", self.test)):
            if not data.samples:
                raise DataError(
                    f"a {data.sample_name} needs {data.items_per_sample} distinct {data.item_name}s, but the {part} "
                    f"pool of {self.source} holds {len(data)}; use a larger data set"
                )
            if data.labels.min() == data.labels.max():
                raise DataError(
                    f"each pool must hold {data.item_name}s of two classes at least, but all {len(data)} in the {part} "
                    f"pool of {self.source} are of class {data.labels[0]}, so every answer would be the same; use "
                    f"another data set"
                )

    @property
    def label(self) -> str:
        """The name with the options: `iris, average pooling`."""
        return ", ".join([self.name, *(f"{value} {option}" for option, value in self.options.items())])

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
