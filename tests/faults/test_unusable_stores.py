"""Databases that may not be written, or in which a page is damaged: one line says what to do, and doctor sees it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.base.errors import InputError, StoreError
from pipeline.cli import main
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import RunStart
from pipeline.tuning.storage import open_storage
from tests.faults.test_doctor import rows
from tests.tracking.conftest import use
from tests.tuning.searches import BY_TPE, finish

NOBODY = 65534
STORES = {"tracking store": "mlflow.db", "database of studies": "optuna.db"}


@pytest.fixture
def folder(empty_runs: Path, empty_studies: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with both stores, which everybody may enter, as nobody may enter those of pytest."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        shutil.copy(empty_runs, folder / "mlflow.db")
        shutil.copy(empty_studies, folder / "optuna.db")
        use(monkeypatch, f"sqlite:///{folder}/mlflow.db", folder)
        yield folder
        monkeypatch.undo()  # it leaves the folder


def open_tracking(_folder: Path) -> object:
    return MlflowTracker()


def open_studies(folder: Path) -> object:
    return open_storage(f"sqlite:///{folder}/optuna.db")


def doctor(folder: Path) -> Result:
    return CliRunner().invoke(
        main, ["doctor", f"--storage=sqlite:///{folder}/optuna.db", f"--cache-dir={folder}/cache"]
    )


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Inside, this process is not root, which may write everywhere."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("folder_mode", [0o777, 0o555], ids=["a file", "a file and its folder"])
@pytest.mark.parametrize(("name", "open_it"), [("mlflow.db", open_tracking), ("optuna.db", open_studies)])
def test_a_store_that_may_not_be_written_is_refused_in_one_line(
    folder: Path, name: str, open_it: Callable[[Path], object], folder_mode: int
) -> None:
    (folder / name).chmod(0o444)
    folder.chmod(folder_mode)
    with ordinary_user(), pytest.raises(InputError, match=rf"{name} cannot be written \(.*; let this user") as caught:
        open_it(folder)
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_made_is_refused_in_one_line(folder: Path) -> None:
    folder.chmod(0o555)
    for name, open_it in (("mlflow.db", open_tracking), ("optuna.db", open_studies)):
        (folder / name).unlink()
        with ordinary_user(), pytest.raises(InputError, match=rf"{name} cannot be written \(unable to open"):
            open_it(folder)


def test_doctor_names_stores_that_may_not_be_written(folder: Path) -> None:
    assert {rows(doctor(folder).output)[thing][0] for thing in STORES} == {"well"}
    for name in STORES.values():
        (folder / name).chmod(0o444)
    with ordinary_user():
        result = doctor(folder)
    assert result.exit_code == 1, result.output
    found = rows(result.output)
    for thing in STORES:
        assert found[thing][0] == "NOT WELL"
        assert f"{thing}: let this user write to it" in result.output
    assert "start its server" not in result.output


def damage_leaf(database: Path, table: str, text: str) -> None:
    """Overwrite the middle of the page of a table in which a text is."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() > (0,)
    content = bytearray(database.read_bytes())
    page = content.index(text.encode()) // size * size
    assert content[page] == 13, "no leaf of a table"
    content[page : page + 100] = b"\xff" * 100
    database.write_bytes(content)


def test_a_damaged_page_of_a_study_is_told_with_what_is_lost_and_what_can_be_done(folder: Path) -> None:
    ledger = BY_TPE.open(folder / "optuna.db")
    finish(ledger)
    ledger._storage.close()
    damage_leaf(folder / "optuna.db", "trial_system_attributes", '"curves')
    with pytest.raises(
        StoreError, match=r"optuna.db is damaged \(.*; put a copy back, save what can be read"
    ) as caught:
        BY_TPE.open(folder / "optuna.db").records()
    assert "\n" not in str(caught.value)
    result = doctor(folder)
    assert result.exit_code == 1
    assert "optuna.db is damaged: " in rows(result.output)["database of studies"][1]
    assert "database of studies: put a copy back" in result.output
    assert rows(result.output)["tracking store"][0] == "well"


def test_a_damaged_page_of_the_tracking_store_is_told_with_how_its_runs_are_made_again(folder: Path) -> None:
    tracker = MlflowTracker()
    for number in range(40):
        tracker.start(RunStart(name=f"run {number}", role="search", tags={"padding": "of many a page " * 60}))
    damage_leaf(folder / "mlflow.db", "tags", "of many a page")
    with pytest.raises(
        StoreError, match=r"mlflow.db is damaged \(.*; put a copy back, or move it away .* of a search logs"
    ):
        tracker.find("search")
    result = doctor(folder)
    assert "mlflow.db is damaged: " in rows(result.output)["tracking store"][1]
    assert "tracking store: put a copy back" in result.output
