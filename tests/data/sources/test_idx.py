from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import DataError, InputError
from pipeline.data.sources.idx import IDX_NAMES, MOST_BYTES
from pipeline.data.sources.mnist import MNIST_SHA256
from tests.data.sources.loading import load
from tests.idx_files import encode_idx, make_raw_digits

TRAIN_IMAGES, _, TEST_IMAGES, TEST_LABELS = IDX_NAMES


def small(folder: Path, height: int = 3, width: int = 5) -> Path:
    """Four training and two test images of any size."""
    for name, count in zip(IDX_NAMES, (4, 4, 2, 2), strict=True):
        shape = (count, height, width) if "images" in name else (count,)
        (folder / name).write_bytes(encode_idx(np.full(shape, count, np.uint8)))
    return folder


def test_images_may_be_of_any_size_and_labels_any_number(tmp_path: Path) -> None:
    data = load("idx", tmp_path, data_dir=small(tmp_path))
    assert data.x.dtype == np.uint8
    assert data.x.shape == (6, 1, 3, 5)
    assert data.test is not None
    assert data.test.tolist() == [False] * 4 + [True] * 2
    assert data.target.tolist() == [4] * 4 + [2] * 2
    assert data.name == tmp_path.name


def test_the_same_files_give_the_digits_that_are_in_them(idx_folder: Path, tmp_path: Path) -> None:
    raw, data = make_raw_digits(), load("idx", tmp_path, data_dir=idx_folder)
    np.testing.assert_array_equal(data.x[:40, 0], raw.train_images)
    np.testing.assert_array_equal(data.target[40:], raw.test_labels)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (TRAIN_IMAGES, (4, 0, 5), r"shape \(N, H, W\), but is of shape \(4, 0, 5\)"),
        (TRAIN_IMAGES, (4, 15), r"shape \(N, H, W\), but has 2 dimensions"),
        (TEST_IMAGES, (2, 5, 3), r"one size, but those of .* are \(3, 5\) and those of .*t10k-images.* \(5, 3\)"),
        (TEST_LABELS, (3,), "holds 2 images and .* 3 labels"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, name: str, shape: tuple[int, ...], message: str) -> None:
    (small(tmp_path) / name).write_bytes(encode_idx(np.zeros(shape, np.uint8)))
    with pytest.raises(DataError, match=message):
        load("idx", tmp_path, data_dir=tmp_path)


def test_what_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    header = encode_idx(np.zeros((0, 2**16, 2**16), np.uint8))
    (small(tmp_path) / TRAIN_IMAGES).write_bytes(header[:7] + b"\x02" + header[8:])
    with pytest.raises(DataError, match=f"at most {MOST_BYTES:,} bytes, but is of shape"):
        load("idx", tmp_path, data_dir=tmp_path)


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--dataset idx needs --data-dir"):
        load("idx", tmp_path)
    with pytest.raises(DataError, match=f"has no {TRAIN_IMAGES}"):
        load("idx", tmp_path, data_dir=tmp_path)


def test_the_shipped_digits_are_images_with_their_own_parts(tmp_path: Path) -> None:
    data = load("mnist5k", tmp_path)
    assert data.x.dtype == np.uint8
    assert data.x.shape == (5000, 1, 28, 28)
    assert data.test is not None
    assert np.bincount(data.target[data.test]).tolist() == [250] * 10


def test_other_files_than_the_published_ones_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "torchvision" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, array in zip(IDX_NAMES, make_raw_digits().arrays, strict=True):
        (folder / name).write_bytes(encode_idx(array))
    with pytest.raises(DataError, match=r"not MNIST as published \(SHA-256 differs\)"):
        load("mnist", tmp_path)
    assert len(MNIST_SHA256) == 64
