"""The prepared pool: 14x14 digits, cached in one file with its SHA-256.

A cache file is the SHA-256 of an .npz archive, in 32 bytes, and the archive itself. It is written whole or not at all,
and is not even parsed unless its SHA-256 is still right; a damaged file is rebuilt with a warning.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.files import write_whole
from pipeline.data.digits import DigitSet
from pipeline.data.points import disc_pools
from pipeline.data.pools import Pools
from pipeline.data.sources import RawDigits, Source, open_source

log = logging.getLogger(__name__)
POOLINGS = ("average", "max")
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which digits an experiment uses."""

    dataset: str = "mnist5k"
    """`mnist5k`, `mnist`, `idx`, or `disc`, which is points."""
    data_dir: str = ""
    """The folder of the IDX files, for `idx` alone."""
    pooling: str = "average"
    """2x2 `average` or `max` pooling. Report 000 does not say which; report 002 used max."""
    cache_dir: Path
    """Where downloads and prepared pools are kept."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UnknownNameError("pooling", self.pooling, POOLINGS)


_kept: dict[DataConfig, Pools] | None = None


def load_pools(config: DataConfig) -> Pools:
    """The pools of a data set, from the cache or built anew and cached.

    Raises InputError or DataError when the source cannot be had or the cache folder cannot be written.
    """
    if config.dataset == "disc":
        if config.data_dir:
            raise InputError(f"--dataset disc takes no --data-dir, but got {config.data_dir!r}")
        return disc_pools()
    if _kept is None:
        return _load_digits(config)
    if config not in _kept:
        _kept[config] = _load_digits(config)
    return _kept[config]


def _load_digits(config: DataConfig) -> Pools:
    cache_dir = writable_folder(config.cache_dir, "--cache-dir")
    source = open_source(config.dataset, data_dir=config.data_dir, cache_dir=cache_dir)
    path = _path(cache_dir, source, config.pooling)
    if path.exists():
        cached = _read(path, source, config.pooling)
        if cached is not None:
            return cached
        log.warning("the prepared pool %s is damaged; it is rebuilt", path)
    pools = build_pools(source.read(), source, config.pooling)
    _write(path, pools)
    return pools


@contextmanager
def pools_kept() -> Iterator[None]:
    """Inside, the pools of a data set are loaded once and no more."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


def is_prepared(config: DataConfig) -> bool:
    """Whether the pools need not be built."""
    if config.dataset == "disc":
        return True
    cache_dir = config.cache_dir.expanduser()
    return _path(
        cache_dir, open_source(config.dataset, data_dir=config.data_dir, cache_dir=cache_dir), config.pooling
    ).exists()


def _path(cache_dir: Path, source: Source, pooling: str) -> Path:
    return cache_dir / f"{source.name}-{pooling}-{source.fingerprint}.pool"


def writable_folder(path: Path, option: str) -> Path:
    """Make sure that a folder exists and can be written, or raise InputError naming the option that chose it."""
    try:
        path = path.expanduser()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError) as error:  # RuntimeError: "~somebody" without a home
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} must be a folder that can be written, but {path}: {reason}") from error


def build_pools(raw: RawDigits, source: Source, pooling: str) -> Pools:
    """Reduce raw digits to 14x14."""

    def reduce(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> DigitSet:
        return DigitSet(images_NHW=pool_2x2(images, pooling), labels_N=labels.astype(np.int64))

    return Pools(
        name=source.name,
        source=source.description,
        pooling=pooling,
        train=reduce(raw.train_images, raw.train_labels),
        test=reduce(raw.test_images, raw.test_labels),
    )


def pool_2x2(images: NDArray[np.uint8], pooling: str) -> NDArray[np.float32]:
    """(N, 2h, 2w) -> (N, h, w): the average or the maximum of each 2x2 block."""
    corners = np.stack([images[:, row::2, column::2] for row in (0, 1) for column in (0, 1)])
    reduced: NDArray[np.float32] = (
        corners.mean(axis=0, dtype=np.float32) if pooling == "average" else corners.max(axis=0).astype(np.float32)
    )
    return reduced


def _write(path: Path, pools: Pools) -> None:
    (train_images, train_labels), (test_images, test_labels) = pools.train.arrays, pools.test.arrays
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


def _read(path: Path, source: Source, pooling: str) -> Pools | None:
    """The cached pools, or None when the file cannot be read or is not what was written."""
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
    return Pools(name=source.name, source=source.description, pooling=pooling, train=train, test=test)
