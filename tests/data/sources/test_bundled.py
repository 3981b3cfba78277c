from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.sources import SOURCES, find_source
from pipeline.data.splitting import guess_task, split
from tests.data.sources.loading import load

NAMES = [name for name in SOURCES if name.startswith("sklearn:")]


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_can_be_split(name: str, tmp_path: Path) -> None:
    data = load(name, tmp_path)
    assert data.x.dtype == np.float32
    assert len(data.features) == data.x.shape[1]
    splits = split(data, classes=bool(data.classes), test_size=0.25)
    assert len(splits.train) + len(splits.test) == len(data.x)


def test_classes_have_their_names(tmp_path: Path) -> None:
    data = load("sklearn:iris", tmp_path)
    assert split(data, classes=True, test_size=0.25).classes == ("setosa", "versicolor", "virginica")
    assert guess_task(data.target)[0] == "classification"
    assert load("sklearn:digits", tmp_path).x.shape == (1797, 64)


def test_others_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="data set of scikit-learn 'irs'; did you mean iris"):
        find_source("sklearn:irs")
    with pytest.raises(InputError, match="needs one target, but sklearn:linnerud has three"):
        find_source("sklearn:linnerud")


@pytest.mark.parametrize("name", ["", "cvs", "zzz"])
def test_unknown_names_are_not_found(name: str) -> None:
    assert find_source(name) is None
