"""Prepared data: 14x14 digits, cached in one file with its SHA-256.

A cache file is the SHA-256 of an .npz archive, in 32 bytes, and the archive itself. It is written whole or not at all,
and is not even parsed unless its SHA-256 is still right; a damaged file is rebuilt with a warning.
"""

from __future__ import annotations

import hashlib
import io
import logging
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import InputError
from pipeline.base.files import writable_folder, write_whole
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.data.sources.idx import RawImages
from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.digit_pairs.options import POOLING
from pipeline.tasks.digit_pairs.sources import Source, open_source

log = logging.getLogger(__name__)
DIGEST_BYTES = hashlib.sha256().digest_size


def load_digits(config: DataConfig) -> Splits:
    """The digits of a data set, from the cache or built anew and cached.

    Raises InputError or DataError when the source cannot be had or the cache folder cannot be written.
    """
    cache_dir, pooling = writable_folder(config.cache_dir, "--cache-dir"), POOLING.of(config)
    source = open_source(config.dataset, data_dir=config.data_dir, cache_dir=cache_dir)
    path = _path(cache_dir, source, pooling)
    if path.exists():
        cached = _read(path, source, pooling)
        if cached is not None:
            return cached
        log.warning("the prepared pool %s is damaged; it is rebuilt", path)
    splits = build_splits(source.read(), source, pooling)
    _write(path, splits)
    return splits


def is_prepared(config: DataConfig) -> bool:
    """Whether the digits need not be reduced any more."""
    cache_dir = config.cache_dir.expanduser()
    source = open_source(config.dataset, data_dir=config.data_dir, cache_dir=cache_dir)
    return _path(cache_dir, source, POOLING.of(config)).exists()


def _path(cache_dir: Path, source: Source, pooling: str) -> Path:
    return cache_dir / f"{source.name}-{pooling}-{source.fingerprint}.pool"


def build_splits(raw: RawImages, source: Source, pooling: str) -> Splits:
    """Reduce raw digits to 14x14."""

    def reduce(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> DigitSet:
        return DigitSet(images_NHW=pool_2x2(images, pooling), labels_N=labels.astype(np.int64))

    return _splits(source, pooling)(
        train=reduce(raw.train_images, raw.train_labels), test=reduce(raw.test_images, raw.test_labels)
    )


def _splits(source: Source, pooling: str) -> partial[Splits]:
    return partial(
        Splits,
        name=source.name,
        source=source.description,
        options={POOLING.name: pooling},
        preparation=f"28x28 reduced to 14x14 by {pooling} pooling",
    )


def pool_2x2(images: NDArray[np.uint8], pooling: str) -> NDArray[np.float32]:
    """(N, 2h, 2w) -> (N, h, w): the average or the maximum of each 2x2 block."""
    corners = np.stack([images[:, row::2, column::2] for row in (0, 1) for column in (0, 1)])
    reduced: NDArray[np.float32] = (
        corners.mean(axis=0, dtype=np.float32) if pooling == "average" else corners.max(axis=0).astype(np.float32)
    )
    return reduced


def _write(path: Path, splits: Splits) -> None:
    (train_images, train_labels), (test_images, test_labels) = splits.train.arrays, splits.test.arrays
    archive = io.BytesIO()
    # A quarter step of a byte fits float16 exactly, so the file is half the size at no loss.
    np.savez(
        archive,
        train_images=train_images.astype(np.float16),
        train_labels=train_labels.astype(np.uint8),
        test_images=test_images.astype(np.float16),
        test_labels=test_labels.astype(np.uint8),
    )
    content = archive.getvalue()
    try:
        write_whole(path, hashlib.sha256(content).digest() + content)
    except OSError as error:
        raise InputError(
            f"cannot write the prepared pool {path}: {error.strerror}; choose another --cache-dir"
        ) from error


def _read(path: Path, source: Source, pooling: str) -> Splits | None:
    """The cached digits, or None when the file cannot be read or is not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, archive = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        return None
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        train, test = (
            DigitSet(
                images_NHW=arrays[f"{part}_images"].astype(np.float32),
                labels_N=arrays[f"{part}_labels"].astype(np.int64),
            )
            for part in ("train", "test")
        )
    return _splits(source, pooling)(train=train, test=test)
