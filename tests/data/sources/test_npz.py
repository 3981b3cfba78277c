from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import DataError
from tests.data.sources.loading import load

X, Y = np.arange(6, dtype=np.float64).reshape(3, 2), np.array(["a", "b", "a"])


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "leaves.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("names", [("x", "y"), ("X", "y"), ("x_train", "y_train")])
def test_arrays_are_found_by_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    path = saved(tmp_path, **dict(zip(names, (X, Y), strict=True)), group=np.array([1, 2, 1]))
    data = load("npz", tmp_path, data_file=path)
    assert data.x.tolist() == X.tolist()
    assert data.target.tolist() == Y.tolist()
    assert data.group is not None
    assert (data.name, data.source, data.test) == ("leaves", str(path), None)


def test_test_samples_are_those_of_the_file(tmp_path: Path) -> None:
    data = load("npz", tmp_path, data_file=saved(tmp_path, x=X, y=Y, x_test=X[:2] + 9, y_test=Y[:2]))
    assert data.test is not None
    assert data.test.tolist() == [False] * 3 + [True] * 2
    assert data.x[3:].tolist() == (X[:2] + 9).tolist()


def test_missing_numbers_can_be_filled_in(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.where(X == 3, np.nan, X), y=Y)
    assert load("npz", tmp_path, data_file=path, impute="mean").impute == "mean"
    with pytest.raises(DataError, match=r"in sample 1 of leaves; choose"):
        load("npz", tmp_path, data_file=path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": X, "labels": Y}, r"x \(samples\) and y \(targets\), but leaves has images, labels"),
        ({"x": X, "y": Y, "x_test": X}, "need x_test and y_test, but leaves has one of them alone"),
        ({"x": X, "y": Y.astype(object)}, r"save text as np.array\(labels, dtype=str\), not as objects"),
        ({"x": X, "y": Y[:2]}, "leaves has 3 samples and 2 targets"),
    ],
)
def test_arrays_that_are_no_samples_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("npz", tmp_path, data_file=saved(tmp_path, **arrays))


def test_other_files_are_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path, x=X, y=Y).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:60] + b"\x00" * 8 + whole[68:]):
        (tmp_path / "leaves.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"leaves\.npz must be a file of np\.savez"):
            load("npz", tmp_path, data_file=tmp_path / "leaves.npz")
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DataError, match=r"one\.npy must hold arrays x and y, but holds a single one"):
        load("npz", tmp_path, data_file=tmp_path / "one.npy")
