from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.seeds import numpy_generator
from pipeline.data.config import DataConfig
from pipeline.tasks.digit_pairs.prepared import is_prepared, pool_2x2
from pipeline.tasks.subjects import kept, load_splits
from tests.idx_files import make_raw_digits


@pytest.fixture
def config(tmp_path: Path, idx_folder: Path) -> DataConfig:
    return DataConfig(dataset="idx", data_dir=str(idx_folder), cache_dir=tmp_path / "cache")


def pooled(config: DataConfig, pooling: str) -> DataConfig:
    return replace(config, options={"pooling": pooling})


def cache_file(config: DataConfig) -> Path:
    [path] = config.cache_dir.iterdir()
    return path


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pooling_equals_a_plain_loop(pooling: str) -> None:
    images = numpy_generator(0, "images").integers(256, size=(3, 28, 28), dtype=np.uint8)
    pooled = pool_2x2(images, pooling)
    assert pooled.shape == (3, 14, 14)
    assert pooled.dtype == np.float32
    for index in np.ndindex(pooled.shape):
        n, row, column = index
        block = [int(images[n, 2 * row + i, 2 * column + j]) for i in range(2) for j in range(2)]
        assert pooled[index] == (sum(block) / 4 if pooling == "average" else max(block))


def test_pools_hold_the_reduced_digits_and_say_where_they_come_from(config: DataConfig) -> None:
    splits, raw = load_splits(config), make_raw_digits()
    assert (splits.name, splits.options) == ("idx", {"pooling": "average"})
    assert splits.preparation == "28x28 reduced to 14x14 by average pooling"
    assert splits.label == "idx, average pooling"
    assert config.data_dir in splits.source
    assert (len(splits.train), len(splits.test)) == (40, 20)
    (train_images, train_labels), (test_images, test_labels) = splits.train.arrays, splits.test.arrays
    np.testing.assert_array_equal(train_images, pool_2x2(raw.train_images, "average"))
    np.testing.assert_array_equal(test_images, pool_2x2(raw.test_images, "average"))
    np.testing.assert_array_equal(train_labels, raw.train_labels)
    np.testing.assert_array_equal(test_labels, raw.test_labels)


def test_a_second_load_equals_the_first_without_reading_the_source(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_splits(config)

    def refuse(*_: object) -> None:
        raise AssertionError("the source was read again")

    monkeypatch.setattr("pipeline.tasks.digit_pairs.sources._read_idx_files", refuse)
    second = load_splits(config)
    for said in ("name", "source", "options", "preparation"):
        assert getattr(second, said) == getattr(first, said)
    assert second.digest == first.digest
    for array, expected in zip(second.train.arrays, first.train.arrays, strict=True):
        assert array.dtype == expected.dtype
    assert not caplog.records


def test_pools_that_are_kept_are_loaded_once(config: DataConfig) -> None:
    with kept():
        first = load_splits(config)
        assert load_splits(config) is first
        assert load_splits(pooled(config, "max")) is not first
    assert load_splits(config) is not first


def test_each_pooling_has_a_cache_file_of_its_own(config: DataConfig) -> None:
    assert not is_prepared(config)
    digests = {load_splits(pooled(config, pooling)).digest for pooling in ("average", "max", "average")}
    assert len(digests) == 2
    assert len(list(config.cache_dir.iterdir())) == 2
    assert is_prepared(config)


def test_changed_idx_files_are_read_anew(config: DataConfig) -> None:
    before = load_splits(config).digest
    path = Path(config.data_dir) / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x80")
    assert load_splits(config).digest != before


def test_a_flipped_byte_never_gives_wrong_digits(config: DataConfig, caplog: pytest.LogCaptureFixture) -> None:
    digest = load_splits(config).digest
    path = cache_file(config)
    whole = path.read_bytes()
    generator = numpy_generator(0, "damage")
    spread = np.linspace(0, len(whole) - 1, 20).astype(int).tolist()
    rebuilt = 0
    for position in spread + generator.integers(len(whole), size=20).tolist():
        path.write_bytes(
            whole[:position] + bytes([whole[position] ^ int(generator.integers(1, 256))]) + whole[position + 1 :]
        )
        caplog.clear()
        assert load_splits(config).digest == digest
        rebuilt += warned_of(path, caplog)
        assert cache_file(config) == path
        caplog.clear()
        assert load_splits(config).digest == digest
        assert not caplog.records
    assert rebuilt >= 30


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_rebuilt_with_a_warning(
    config: DataConfig, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    digest = load_splits(config).digest
    path = cache_file(config)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert load_splits(config).digest == digest
    assert warned_of(path, caplog)


def warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> bool:
    return any(record.levelno == logging.WARNING and str(path) in record.getMessage() for record in caplog.records)


def test_a_cache_folder_that_cannot_be_made_is_refused(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache_dir in (tmp_path / "file", tmp_path / "file" / "cache", Path("~no-such-user-here/cache")):
        with pytest.raises(InputError, match="--cache-dir must be a folder that can be written"):
            load_splits(replace(config, cache_dir=cache_dir))


def test_an_unknown_pooling_gives_the_near_misses(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown pooling 'avrage'; did you mean average"):
        load_splits(pooled(DataConfig(cache_dir=tmp_path), "avrage"))
