from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.config import DataConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from tests.idx_files import write_idx_folder
from tests.stages.runs import Make

SAMPLES = 100
SPACE = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nepochs: {type: choice, values: [2, 3, 25]}\n"


@pytest.fixture(scope="session")
def sampling(tmp_path_factory: pytest.TempPathFactory) -> Sampling:
    """The real digits of mnist5k, a hundred pairs a round."""
    return Sampling(data=DataConfig(cache_dir=tmp_path_factory.mktemp("cache")), samples=SAMPLES)


@pytest.fixture(scope="session")
def disc(sampling: Sampling) -> Sampling:
    """The points of the data set `disc`, a hundred a round."""
    return replace(sampling, data=replace(sampling.data, dataset="disc"))


@pytest.fixture
def all_of_few(tmp_path: Path) -> Sampling:
    """All pairs of a data set of 40 training and 20 test digits."""
    folder = write_idx_folder(tmp_path / "idx", compress=True)
    return Sampling(data=DataConfig(dataset="idx", data_dir=str(folder), cache_dir=tmp_path / "cache"), samples=0)


@pytest.fixture
def space_file(tmp_path: Path) -> str:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return str(path)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def artifacts(tmp_path: Path) -> str:
    return str(tmp_path / "artifacts")


@pytest.fixture(scope="module")
def make(sampling: Sampling, empty_studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Small searches over a space; each has a database and files of its own, unless it is told others."""

    def config(space: str, **options: Any) -> SearchConfig:
        folder = tmp_path_factory.mktemp("search")
        (folder / "space.yaml").write_text(space)
        if "storage" not in options:
            shutil.copy(empty_studies, folder / "optuna.db")
        small: dict[str, Any] = {
            "sampling": replace(sampling, samples=60),
            "model": "mlp_ws_al",
            "folds": 2,
            "population": 4,
            "recheck": 0,
            "space": str(folder / "space.yaml"),
            "storage": f"sqlite:///{folder / 'optuna.db'}",
            "artifacts": str(folder / "artifacts"),
        }
        return SearchConfig(**{**small, **options})

    return config
