"""`idx`: images and their labels in four IDX files, as many image data sets are published."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, InputError
from pipeline.base.files import given_path
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
Item = tuple[int | str, ...]
"""The shape of each of the N items of a file; a letter stands for any size."""
IMAGE: Item = ("H", "W")
LABEL: Item = ()
MOST_ITEMS = 1_000_000
"""In one file, so that a damaged or malicious one cannot fill the memory."""
MOST_BYTES = 2**32
"""Of one file, and of what it unpacks to."""


@dataclass(frozen=True, kw_only=True)
class RawImages:
    """Images as published: (N, H, W) grey values as bytes, and their labels."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], ...]:
        """All four arrays, training first, images before labels."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def labelled(self, name: str, source: str) -> Labelled:
        """All of them as images of one channel, (N, 1, H, W)."""
        return Labelled(
            name=name,
            source=source,
            x=np.concatenate([self.train_images, self.test_images])[:, None],
            target=np.concatenate([self.train_labels, self.test_labels]).astype(np.int64),
            test=np.repeat([False, True], [len(self.train_labels), len(self.test_labels)]),
        )


def load(config: DataConfig) -> Labelled:
    """The four files in `--data-dir`. Raises InputError without one, and DataError for files that are not what they
    should be."""
    if not config.data_dir:
        raise InputError("--dataset idx needs --data-dir, a folder with the four IDX files, but got none")
    folder = given_folder(config.data_dir)
    paths = find_idx(folder)
    contents = [read_bytes(path, MOST_BYTES, f"{MOST_BYTES:,} bytes") for path in paths]
    raw = read_idx(paths, contents, image=IMAGE, items="items")
    if raw.train_images.shape[1:] != raw.test_images.shape[1:]:
        raise DataError(
            f"all images must be of one size, but those of {paths[0]} are {raw.train_images.shape[1:]} and those of "
            f"{paths[2]} {raw.test_images.shape[1:]}"
        )
    return raw.labelled(folder.resolve().name, f"IDX files in {folder.resolve()}")


def given_folder(data_dir: str) -> Path:
    """The folder that a person means. Raises DataError where it cannot be one."""
    try:
        return given_path(data_dir)
    except InputError as error:  # "~somebody" without a home
        raise DataError(f"--data-dir must be a folder, but got {data_dir}: {error.__cause__}") from error


def find_idx(folder: Path) -> list[Path]:
    """The four files, in the order of `IDX_NAMES`. Raises DataError where one is missing."""
    return [_find(folder, name) for name in IDX_NAMES]


def _find(folder: Path, name: str) -> Path:
    candidates = [folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")]
    for path in candidates:
        if os.path.isfile(path):  # which is False for a name that is too long to be one
            return path
    raise DataError(f"--data-dir must hold {', '.join(IDX_NAMES)} (gzipped or not), but {folder} has no {name}")


def read_bytes(path: Path, most: int, limit: str) -> bytes:
    """What is in a file, unless it has more than `most` bytes, which is the `limit` in words."""
    try:
        size = path.stat().st_size
        if size > most:
            raise DataError(f"an IDX file may hold at most {limit}, but {path} has {size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def read_idx(paths: Sequence[Path], contents: Sequence[bytes], *, image: Item, items: str) -> RawImages:
    """The images, of this shape, and labels in the contents of the four files; messages call them `items`.

    Raises DataError where one is damaged, or where images and labels are not as many.
    """
    arrays = [
        parse_idx(content, str(path), item=item, items=items)
        for content, path, item in zip(contents, paths, [image, LABEL, image, LABEL], strict=True)
    ]
    for images, labels in ((0, 1), (2, 3)):
        if len(arrays[images]) != len(arrays[labels]):
            raise DataError(
                f"every image needs a label, but {paths[images]} holds {len(arrays[images])} images and "
                f"{paths[labels]} {len(arrays[labels])} labels"
            )
    train_images, train_labels, test_images, test_labels = arrays
    return RawImages(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


def parse_idx(content: bytes, name: str, *, item: Item, items: str) -> NDArray[np.uint8]:
    """The (N, *item) array in an IDX file of unsigned bytes, gzipped or not; `name` is for messages.

    The header is judged before anything behind it is unpacked, and no more is unpacked than it says. Raises DataError
    when the content is damaged, of another type or shape, or of more than `MOST_ITEMS` items or `MOST_BYTES`.
    """
    packed = io.BytesIO(content)
    file = gzip.GzipFile(fileobj=packed) if content[:2] == b"\x1f\x8b" else packed
    try:
        shape = _read_header(file, name, item, items)
        size = math.prod(shape)
        values = file.read(size + 1)  # at the end of a gzip file its checksum is compared
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} is not a whole gzip file: {error}") from error
    if len(values) != size:
        held = f"only {len(values)}" if len(values) < size else "more"
        raise DataError(f"{name} must hold {size} bytes of shape {shape} as its header says, but holds {held}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_header(file: io.BufferedIOBase, name: str, item: Item, items: str) -> tuple[int, ...]:
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
    if any(
        size != wanted and not (isinstance(wanted, str) and size) for size, wanted in zip(shape[1:], item, strict=True)
    ):
        raise DataError(f"{name} must hold an array of shape {expected}, but is of shape {shape} by its header")
    if not 1 <= shape[0] <= MOST_ITEMS:
        raise DataError(f"{name} must hold between 1 and {MOST_ITEMS:,} {items}, but {shape[0]:,} by its header")
    if math.prod(shape) > MOST_BYTES:
        raise DataError(f"{name} may hold at most {MOST_BYTES:,} bytes, but is of shape {shape} by its header")
    return shape


IDX = Source(load=load, takes_folder=True)
