"""IDX files for tests."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.base.seeds import numpy_generator
from pipeline.data.sources.idx import IDX_NAMES, RawImages

SIDE = 28


def make_raw_digits(train: int = 40, test: int = 20) -> RawImages:
    """Noise with labels."""
    generator = numpy_generator(0, "raw digits")

    def images(count: int) -> NDArray[np.uint8]:
        return generator.integers(256, size=(count, SIDE, SIDE), dtype=np.uint8)

    def labels(count: int) -> NDArray[np.uint8]:
        return generator.integers(10, size=count, dtype=np.uint8)

    return RawImages(
        train_images=images(train), train_labels=labels(train), test_images=images(test), test_labels=labels(test)
    )


def make_clothes(train: int = 700, test: int = 200) -> RawImages:
    """Images of ten classes that can be learned: noise upon a pattern for each."""
    generator = numpy_generator(0, "clothes")
    pattern_KHW = generator.integers(128, size=(10, SIDE, SIDE))

    def part(count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        label_N = np.arange(count) % 10
        noise_NHW = generator.integers(128, size=(count, SIDE, SIDE))
        return (pattern_KHW[label_N] + noise_NHW).astype(np.uint8), label_N.astype(np.uint8)

    (train_images, train_labels), (test_images, test_labels) = part(train), part(test)
    return RawImages(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


def encode_idx(array: NDArray[np.uint8]) -> bytes:
    """The content of an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_folder(folder: Path, *, compress: bool, images: RawImages | None = None) -> Path:
    """The four files of `images`, or of `make_raw_digits()`."""
    folder.mkdir()
    for name, array in zip(IDX_NAMES, (images or make_raw_digits()).arrays, strict=True):
        content = encode_idx(array)
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder
