"""A disk that is full, for each thing that is written: one clear message, sound databases, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pipeline.base.errors import StageError
from pipeline.base.files import write_whole
from pipeline.base.stores import not_written
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import RunStart
from tests.faults.invariants import check_whole, finished_trials, more_trials
from tests.faults.searches import ENDLESS, SEARCH, complete, said
from tests.functional.conftest import Workplace

KIB = {"databases of studies": 900, "runs": 1500, "artifacts": 40, "cache": 40}
"""Size of the disk for each: enough to begin, and not to end."""


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={KIB[request.param]}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may make a small disk, where containers allow it")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(disk: Path) -> None:
    """What a person does: make room."""
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)


def sound(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


@pytest.mark.parametrize("disk", ["databases of studies"], indirect=True)
def test_the_database_of_studies(disk: Path, tmp_path: Path) -> None:
    check(Workplace(tmp_path, studies=f"sqlite:///{disk}/optuna.db"), disk, f"{disk}/optuna.db")
    assert sound(disk / "optuna.db")


@pytest.mark.parametrize("disk", ["runs"], indirect=True)
def test_the_database_of_runs(disk: Path, tmp_path: Path) -> None:
    check(Workplace(tmp_path, tracking=f"sqlite:///{disk}/mlflow.db"), disk, f"{disk}/mlflow.db")
    assert sound(disk / "mlflow.db")


@pytest.mark.parametrize("disk", ["artifacts"], indirect=True)
def test_artifacts_of_studies(disk: Path, tmp_path: Path) -> None:
    check(Workplace(tmp_path), disk, str(disk), f"--artifacts={disk}")


@pytest.mark.parametrize("disk", ["cache"], indirect=True)
def test_prepared_data(disk: Path, tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    command = ("variantlab", "prepare", f"--cache-dir={disk}")
    code, output = workplace.run(*command)
    assert code == 2
    [line] = said(output).strip().splitlines()
    assert line.startswith(f"Error: cannot write the prepared pool {disk}/")
    assert list(disk.iterdir()) == []
    assert workplace.runs() == []
    grow(disk)
    assert workplace.run(*command)[0] == 0


@pytest.mark.parametrize("disk", ["cache"], indirect=True)
def test_a_report(disk: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(disk / "all.md", bytes(100 * 1024))
    assert str(disk / "all.md") in str(not_written(caught.value))
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("disk", ["artifacts"], indirect=True)
def test_artifacts_of_runs_and_the_folder_that_they_pass_through(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow writes an artifact to the folder of temporary files first, and then to its place."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(disk)
    with MlflowTracker() as tracker:
        monkeypatch.chdir(tmp_path)
        run = tracker.start(RunStart(name="r", role="search"))
        with pytest.raises(StageError, match=f"the disk is full at {disk}"):
            run.text("large.txt", "x" * 100 * 1024)
        grow(disk)
        run.text("large.txt", "x" * 100 * 1024)
        with (disk / "filled").open("wb") as file, suppress(OSError):
            file.write(bytes(300 << 20))
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(StageError, match=f"the disk is full at {disk}"):
            run.text("larger.txt", "x" * 100 * 1024)


def check(workplace: Workplace, disk: Path, place: str, *options: str) -> None:
    """A search until the disk is full, and its end once there is room again."""
    code, output = workplace.run(*SEARCH, f"--n-trials={ENDLESS}", f"--storage={workplace.storage}", *options)
    assert code == 1, output
    assert "Traceback" not in output
    errors = [line for line in said(output).splitlines() if line.startswith("Error: ")]
    [error] = errors
    assert "the disk is full" in error
    assert place in error
    grow(disk)
    acknowledged = finished_trials(workplace)
    assert acknowledged, "the disk was full before the search began"
    n_trials = more_trials(workplace)
    complete(workplace, n_trials, *options)
    check_whole(workplace, n_trials, acknowledged)
