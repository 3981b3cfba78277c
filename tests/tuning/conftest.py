from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path, empty_studies: Path) -> Path:
    """Where a search keeps its study."""
    return Path(shutil.copy(empty_studies, tmp_path / "optuna.db"))
