from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.disc.points import PointSet
from tests.idx_files import write_idx_folder
from tests.synthetic import make_digits, make_points

# No deadline: what an example takes depends on the machine. Derandomised: a failure comes back on every machine.
settings.register_profile("variantlab", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("variantlab")

torch.set_num_threads(1)  # as in the workers; with more, tiny tensors wait for threads that other programs hold up


@pytest.fixture(scope="module", autouse=True)
def spared_collector() -> None:
    """Keep what was imported and is cached from the collector, which would walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


@pytest.fixture(scope="session")
def train_digits() -> DigitSet:
    return make_digits(400, "train")


@pytest.fixture(scope="session")
def held_out_digits() -> DigitSet:
    return make_digits(200, "held out")


@pytest.fixture(scope="session")
def train_points() -> PointSet:
    return make_points(200, "train")


@pytest.fixture(scope="session")
def held_out_points() -> PointSet:
    return make_points(100, "held out")


@pytest.fixture(scope="session")
def empty_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of studies that has its tables, which take long to make; tests work on copies of it."""
    from pipeline.tuning.storage import open_storage  # many tests need neither Optuna nor MLflow, which load slowly

    path = tmp_path_factory.mktemp("studies") / "optuna.db"
    open_storage(f"sqlite:///{path}").engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(scope="session")
def empty_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store that has its tables, which take seconds to make; tests work on copies of it."""
    from tests.preloaded import Command

    path = tmp_path_factory.mktemp("runs") / "mlflow.db"
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{path}"}
    with Command(["variantlab", "runs"], path.parent, environment) as command:
        output, _ = command.communicate()
    assert path.exists(), output
    return path


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Forty training and twenty test digits as four plain IDX files."""
    return write_idx_folder(tmp_path / "idx", compress=False)
