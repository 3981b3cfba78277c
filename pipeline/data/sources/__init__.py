"""Data sets that any task can learn from, by name; nothing heavy is imported until one is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.data.sources.options import SKLEARN, SKLEARN_NAMES, TORCHVISION

if TYPE_CHECKING:
    from pipeline.data.source import Source

SOURCES = (
    *("csv", "parquet", "npz", "folder", "idx", "mnist", "mnist5k"),
    *(f"{SKLEARN}{name}" for name in SKLEARN_NAMES),
    f"{TORCHVISION}NAME",
    "file.py:load",
    "package.module:load",
)
"""What can be asked for, for messages."""


def find_source(name: str) -> Source | None:
    """How the data set of this name is had; None if there is none. What is found is not read yet.

    Raises UnknownNameError with the near misses for another data set of scikit-learn.
    """
    from pipeline.data.sources import bundled, folder, function, idx, mnist, npz, tables, vision

    if name.startswith(SKLEARN):
        return bundled.sklearn_source(name)
    by_name = {
        "csv": tables.CSV,
        "parquet": tables.PARQUET,
        "npz": npz.NPZ,
        "folder": folder.FOLDER,
        "idx": idx.IDX,
        "mnist": mnist.MNIST,
        "mnist5k": mnist.MNIST5K,
    }
    if name in by_name:
        return by_name[name]
    if name.startswith(TORCHVISION):
        return vision.TORCHVISION_SOURCE
    return function.FUNCTION if ":" in name else None
