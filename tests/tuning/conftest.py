"""Databases in which there is nothing yet: copies of one, since it takes long to create tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.tuning.storage import open_storage


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "optuna.db"
    open_storage(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture
def path(tmp_path: Path, empty_database: Path) -> Path:
    """Where a search keeps its study."""
    return Path(shutil.copy(empty_database, tmp_path / "optuna.db"))
