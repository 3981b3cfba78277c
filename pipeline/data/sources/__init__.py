"""Data sets that any task can learn from, by name."""

from __future__ import annotations

from pipeline.data.source import Source
from pipeline.data.sources import bundled, vision
from pipeline.data.sources.folder import FOLDER
from pipeline.data.sources.function import FUNCTION
from pipeline.data.sources.idx import IDX
from pipeline.data.sources.mnist import MNIST, MNIST5K
from pipeline.data.sources.npz import NPZ
from pipeline.data.sources.tables import CSV, PARQUET

BY_NAME = {
    "csv": CSV,
    "parquet": PARQUET,
    "npz": NPZ,
    "folder": FOLDER,
    "idx": IDX,
    "mnist": MNIST,
    "mnist5k": MNIST5K,
}
BY_PREFIX = {bundled.PREFIX: bundled.sklearn_source, vision.PREFIX: vision.torchvision_source}
SOURCES = (
    *BY_NAME,
    *(f"{bundled.PREFIX}{name}" for name in bundled.NAMES),
    f"{vision.PREFIX}NAME",
    "file.py:load",
    "package.module:load",
)
"""What can be asked for, for messages."""


def find_source(name: str) -> Source | None:
    """How the data set of this name is had; None if there is none. What is found is not read yet.

    Raises UnknownNameError with the near misses for another data set of a library that is known.
    """
    for prefix, find in BY_PREFIX.items():
        if name.startswith(prefix):
            return find(name)
    return BY_NAME.get(name) or (FUNCTION if ":" in name else None)
