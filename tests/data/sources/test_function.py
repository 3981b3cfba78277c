from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import DataError, InputError, UnknownNameError
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.data.sources import find_source
from tests.data.sources.loading import load

BEGIN = "import numpy as np\nX, y = np.arange(4.0)[:, None], ['a', 'b', 'a', 'b']\n"


def written(folder: Path, body: str) -> str:
    """The name of a data set whose function has this body."""
    path = folder / "leaves.py"
    path.write_text(BEGIN + body)
    return f"{path}:load"


@pytest.mark.parametrize(
    "body",
    [
        "def load(): return X, y",
        "def load(config): assert config.cache_dir; return X, y",
        "def load(size=4): return X[:size], y",
        "def load(): return {'x': X, 'y': y}",
        "def load(): return {'x_train': X[:3], 'y_train': y[:3], 'x_test': X[3:], 'y_test': y[3:]}",
        "load = lambda: [X, y]",
        "def load():\n    import variantlab, pipeline.data.arrays as data\n    return data.arrays(X, y)",
    ],
)
def test_a_function_may_give_samples_in_several_forms(tmp_path: Path, body: str) -> None:
    data = load(written(tmp_path, body), tmp_path)
    assert data.x.tolist() == [[0], [1], [2], [3]]
    assert data.target.tolist() == ["a", "b", "a", "b"]


def test_a_function_that_takes_the_config_has_the_folder(tmp_path: Path) -> None:
    name = written(tmp_path, "def load(config): return X, [config.data_dir, 'b', 'a', 'b']")
    assert load(name, tmp_path, data_dir="leaves").target[0] == "leaves"
    with pytest.raises(InputError, match="takes nothing, so there must be no --data-dir, but got 'leaves'"):
        load("sklearn.datasets:make_moons", tmp_path, data_dir="leaves")


def test_groups_and_what_is_missing_are_kept(tmp_path: Path) -> None:
    name = written(tmp_path, "def load(): return np.where(X > 2, np.nan, X), y, [1, 2, 1, 2]")
    data = load(name, tmp_path, impute="mean")
    assert data.group is not None
    assert (data.group.tolist(), data.impute) == ([1, 2, 1, 2], "mean")
    assert data.source == f"{name} of {tmp_path / 'leaves.py'}"


def test_a_function_of_an_installed_package_is_found(tmp_path: Path) -> None:
    data = load("sklearn.datasets:make_moons", tmp_path)
    assert (data.name, data.x.shape) == ("sklearn.datasets:make_moons", (100, 2))


def test_splits_are_given_as_they_are(tmp_path: Path) -> None:
    body = (
        "def load():\n"
        "    from pipeline.data.halves import halves\n"
        "    return halves('mine', 'made', X.astype(np.float32), np.array([0, 1, 0, 1]), by_class=True)"
    )
    name = written(tmp_path, body)
    source = find_source(name)
    assert source is not None
    found = source.load(DataConfig(dataset=name, cache_dir=tmp_path))
    assert isinstance(found, Splits)
    assert found.name == "mine"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def load():\n    return X[9], y", r"line 4 of leaves\.py \(return X\[9\], y\) raised IndexError: index 9"),
        (
            "def load():\n    return np.reshape(X, 7)",
            r"line 4 of leaves\.py \(return np\.reshape\(X, 7\)\) raised ValueError",
        ),
        ("def load(): return X", r"must give \(X, y\), .* but gave ndarray"),
        ("def load(): return X, y, y, y", "but gave tuple of 4"),
        ("def load(): return None", "but gave NoneType"),
        ("load = 7", "must be a function that gives .* but is int"),
        ("def load(a, b): return X, y", "but needs a, b; give them defaults"),
        ("def load(*, a): return X, y", "but needs a; give them defaults"),
        ("def load(): return X, y[:3]", "has 4 samples and 3 targets"),
        ("def load(): return {'images': X}", "but .*leaves.py:load has images"),
        ("def load(): raise SystemExit('no')", "raised SystemExit: no"),
    ],
)
def test_what_goes_wrong_is_said_with_the_persons_own_line(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(written(tmp_path, body), tmp_path)
    assert "\n" not in str(caught.value)


def test_functions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*nowhere\.py"):
        load(f"{tmp_path / 'nowhere.py'}:load", tmp_path)
    with pytest.raises(UnknownNameError, match="'laod'; did you mean load"):
        load(written(tmp_path, "def load(): return X, y").replace(":load", ":laod"), tmp_path)
    np.testing.assert_array_equal(load(f"{tmp_path / 'leaves.py'}:load", tmp_path).x.shape, (4, 1))
