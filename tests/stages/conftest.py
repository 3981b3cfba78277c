from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.prepared import DataConfig
from pipeline.stages.stage import Setting
from tests.idx_files import write_idx_folder

PAIRS = 100
SPACE = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nepochs: {type: choice, values: [2, 3, 25]}\n"


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The real digits of mnist5k, a hundred pairs a round."""
    return Setting(data=DataConfig(cache_dir=tmp_path_factory.mktemp("cache")), pairs=PAIRS)


@pytest.fixture
def space_file(tmp_path: Path) -> str:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return str(path)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def small_idx(tmp_path: Path) -> Path:
    return write_idx_folder(tmp_path / "idx", compress=True)
