from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.base.errors import DataError, InputError
from pipeline.data.splitting import split
from tests.data.sources.loading import load


def draw(path: Path, *, mode: str = "L", size: tuple[int, int] = (4, 3), grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, grey if mode == "L" else (grey, 0, 255)).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three grey images of each of two classes, four wide and three high."""
    folder = tmp_path / "leaves"
    for label in ("oak", "ash"):
        for number in range(3):
            draw(folder / label / f"{number}.png", grey=number)
    return folder


def test_folders_are_classes(images: Path, tmp_path: Path) -> None:
    data = load("folder", tmp_path, data_dir=images)
    assert data.x.dtype == np.uint8
    assert data.x.shape == (6, 1, 3, 4)
    assert data.x[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert data.target.tolist() == ["ash"] * 3 + ["oak"] * 3
    assert (data.name, data.source, data.test) == ("leaves", f"images in {images}", None)


def test_one_coloured_image_makes_all_of_three_channels(images: Path, tmp_path: Path) -> None:
    draw(images / "oak" / "9.png", mode="RGB", grey=7)
    data = load("folder", tmp_path, data_dir=images)
    assert data.x.shape == (7, 3, 3, 4)
    assert data.x[-1, :, 0, 0].tolist() == [7, 0, 255]
    assert data.x[2, :, 0, 0].tolist() == [2, 2, 2]


def test_train_and_test_are_parts(images: Path, tmp_path: Path) -> None:
    images.rename(tmp_path / "train")
    for label in ("oak", "ash"):
        draw(tmp_path / "test" / label / "0.png", grey=9)
    splits = split(load("folder", tmp_path, data_dir=tmp_path), classes=True, test_size=0.25)
    assert (len(splits.train), len(splits.test), splits.classes) == (6, 2, ("ash", "oak"))
    assert set(splits.test.arrays[0].flatten().tolist()) == {9}


def test_an_image_of_another_size_is_named_with_the_way_to_resize(images: Path, tmp_path: Path) -> None:
    draw(images / "oak" / "9.png", size=(5, 3))
    with pytest.raises(
        DataError, match=r"ash/0\.png is 4x3 and .*oak/9\.png 5x3; .* mogrify -resize '4x3!' \*/\*\.png"
    ):
        load("folder", tmp_path, data_dir=images)


def test_a_damaged_image_is_named(images: Path, tmp_path: Path) -> None:
    whole = (images / "oak" / "1.png").read_bytes()
    for content in (b"", b"text", whole[:40]):
        (images / "oak" / "1.png").write_bytes(content)
        with pytest.raises(DataError, match=r"oak/1\.png must be an image, but cannot be read"):
            load("folder", tmp_path, data_dir=images)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--dataset folder needs --data-dir"):
        load("folder", tmp_path)
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        load("folder", tmp_path, data_dir=tmp_path / "nowhere")
    with pytest.raises(DataError, match="must hold a folder of images for each class"):
        load("folder", tmp_path, data_dir=tmp_path)
    (tmp_path / "oak").mkdir()
    with pytest.raises(DataError, match=r"must hold a folder of images for each class, but .*oak") as caught:
        load("folder", tmp_path, data_dir=tmp_path)
    assert "\n" not in str(caught.value)
