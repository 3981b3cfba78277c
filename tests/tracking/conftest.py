from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.tasks.registry import factor_names
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import Tracker
from tests.memory import MemoryTracker

VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


def use(patch: pytest.MonkeyPatch, uri: str, folder: Path) -> None:
    """Track to `uri` from a working folder of the test's own."""
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    for name in VARIABLES:
        patch.delenv(name, raising=False)


@pytest.fixture
def open_mlflow(empty_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], MlflowTracker]:
    """Opens the test's own store, as often as it likes."""
    shutil.copy(empty_runs, tmp_path / "mlflow.db")
    use(monkeypatch, f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    return partial(MlflowTracker, factor_names())


@pytest.fixture
def mlflow_tracker(open_mlflow: Callable[[], MlflowTracker]) -> MlflowTracker:
    return open_mlflow()


@pytest.fixture(params=["memory", "mlflow"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    """Every tracker there is."""
    if request.param == "memory":
        return MemoryTracker()
    mlflow: Tracker = request.getfixturevalue("mlflow_tracker")
    return mlflow
