from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.base.errors import DataError, UnknownNameError
from pipeline.data.config import DataConfig
from pipeline.data.sources import find_source
from pipeline.data.sources.idx import IDX_NAMES
from tests.data.sources.loading import load
from tests.idx_files import encode_idx, make_raw_digits

NAME = "torchvision:FashionMNIST"


def downloaded(folder: Path) -> Path:
    """Forty training and twenty test images where torchvision has downloaded them to."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in zip(IDX_NAMES, make_raw_digits().arrays, strict=True):
        (raw / name).write_bytes(encode_idx(array))
    return folder


def is_prepared(cache_dir: Path) -> bool:
    source = find_source(NAME)
    assert source is not None
    return source.is_prepared(DataConfig(dataset=NAME, cache_dir=cache_dir))


@pytest.mark.parametrize("given", [False, True], ids=["in the cache", "in --data-dir"])
def test_downloaded_images_are_read_with_their_own_parts_and_classes(tmp_path: Path, given: bool) -> None:
    folder = downloaded(tmp_path if given else tmp_path / "torchvision" / "FashionMNIST")
    data = load(NAME, tmp_path, data_dir=folder if given else "")
    raw = make_raw_digits()
    np.testing.assert_array_equal(data.x, np.concatenate([raw.train_images, raw.test_images])[:, None])
    np.testing.assert_array_equal(data.target, np.concatenate([raw.train_labels, raw.test_labels]))
    assert data.test is not None
    assert data.test.tolist() == [False] * 40 + [True] * 20
    assert data.classes[:2] == ("T-shirt/top", "Trouser")


def test_parts_may_be_called_splits_and_images_have_colours(tmp_path: Path) -> None:
    food = tmp_path / "food-101"
    (food / "meta").mkdir(parents=True)
    for part, names in {"train": ["pie/1", "soup/2"], "test": ["pie/3"]}.items():
        listed: dict[str, list[str]] = {"pie": [], "soup": []}
        for name in names:
            path = food / "images" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 3)).save(path)
            listed[name.split("/")[0]].append(name)
        (food / "meta" / f"{part}.json").write_text(json.dumps(listed))
    data = load("torchvision:Food101", tmp_path, data_dir=tmp_path)
    assert data.x.shape == (3, 3, 3, 4)
    assert data.test is not None
    assert (data.target.tolist(), data.test.tolist()) == ([0, 1, 0], [False, False, True])
    assert data.classes == ("pie", "soup")
    Image.new("RGB", (5, 3)).save(food / "images" / "soup" / "2.jpg")
    with pytest.raises(DataError, match="those of torchvision:Food101 are of 4x3 to 5x3; resize them in a function"):
        load("torchvision:Food101", tmp_path, data_dir=tmp_path)


def test_without_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import FashionMNIST

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{port}/"])
    assert not is_prepared(tmp_path)
    with pytest.raises(DataError, match=r"FashionMNIST must be downloaded on first use, .* as --data-dir") as caught:
        load(NAME, tmp_path)
    assert "\n" not in str(caught.value)
    assert not is_prepared(tmp_path)
    downloaded(tmp_path / "torchvision" / "FashionMNIST" / "again")
    assert is_prepared(tmp_path)


def test_an_unknown_name_gives_the_near_misses(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="data set of torchvision 'FashonMNIST'; did you mean FashionMNIST"):
        load("torchvision:FashonMNIST", tmp_path)
    with pytest.raises(UnknownNameError, match=r"'FakeDate'; choose from: .*EMNIST"):
        load("torchvision:FakeDate", tmp_path)
