"""The prepared pool: 14x14 digits, cached in one file with its SHA-256.

A cache file is written whole or not at all, and is used only after its digest has been computed again and found equal
to the recorded one; a damaged file is rebuilt with a warning.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.digits import DigitPools, DigitSet
from pipeline.data.sources import RawDigits, Source, open_source
from pipeline.errors import InputError, UnknownNameError

log = logging.getLogger(__name__)
POOLINGS = ("average", "max")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which digits an experiment uses."""

    dataset: str = "mnist5k"
    """`mnist5k`, `mnist` or `idx`."""
    data_dir: str = ""
    """The folder of the IDX files, for `idx` alone."""
    pooling: str = "average"
    """2x2 `average` or `max` pooling. Report 000 does not say which; report 002 used max."""
    cache_dir: Path
    """Where downloads and prepared pools are kept."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UnknownNameError("pooling", self.pooling, POOLINGS)


def load_pools(config: DataConfig) -> DigitPools:
    """The pools of a data set, from the cache or built anew and cached.

    Raises InputError or DataError when the source cannot be had or the cache folder cannot be written.
    """
    cache_dir = writable_folder(config.cache_dir, "--cache-dir")
    source = open_source(config.dataset, data_dir=config.data_dir, cache_dir=cache_dir)
    path = cache_dir / f"{source.name}-{config.pooling}-{source.fingerprint}.npz"
    if path.exists():
        cached = _read(path, source, config.pooling)
        if cached is not None:
            return cached
        log.warning("the prepared pool %s is damaged; it is rebuilt", path)
    pools = build_pools(source.read(), source, config.pooling)
    _write(path, pools)
    return pools


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


def build_pools(raw: RawDigits, source: Source, pooling: str) -> DigitPools:
    """Reduce raw digits to 14x14."""

    def reduce(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> DigitSet:
        return DigitSet(images_NHW=pool_2x2(images, pooling), labels_N=labels.astype(np.int64))

    return DigitPools(
        name=source.name,
        source=source.description,
        pooling=pooling,
        train=reduce(raw.train_images, raw.train_labels),
        test=reduce(raw.test_images, raw.test_labels),
    )


def pool_2x2(images: NDArray[np.uint8], pooling: str) -> NDArray[np.float32]:
    """(N, 2h, 2w) -> (N, h, w): the average or the maximum of each 2x2 block."""
    n, height, width = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2).astype(np.float32)
    reduced: NDArray[np.float32] = blocks.mean(axis=(2, 4)) if pooling == "average" else blocks.max(axis=(2, 4))
    return reduced


def _write(path: Path, pools: DigitPools) -> None:
    # A quarter step of a byte fits float16 exactly, so the file is half the size at no loss.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(
                file,
                train_images=pools.train.images_NHW.astype(np.float16),
                train_labels=pools.train.labels_N.astype(np.uint8),
                test_images=pools.test.images_NHW.astype(np.float16),
                test_labels=pools.test.labels_N.astype(np.uint8),
                digest=np.array(pools.digest),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise InputError(
            f"cannot write the prepared pool {path}: {error.strerror}; choose another --cache-dir"
        ) from error


def _read(path: Path, source: Source, pooling: str) -> DigitPools | None:
    """The cached pools, or None when the file is damaged in any way."""
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        pools = DigitPools(
            name=source.name,
            source=source.description,
            pooling=pooling,
            train=DigitSet(
                images_NHW=stored["train_images"].astype(np.float32), labels_N=stored["train_labels"].astype(np.int64)
            ),
            test=DigitSet(
                images_NHW=stored["test_images"].astype(np.float32), labels_N=stored["test_labels"].astype(np.int64)
            ),
        )
        return pools if pools.digest == str(stored["digest"]) else None
    except Exception:  # noqa: BLE001 - whatever a damaged zip file raises, the answer is to rebuild it
        return None
