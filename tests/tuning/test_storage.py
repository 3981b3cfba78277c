from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from pipeline.base.errors import InputError
from pipeline.tuning.storage import open_storage
from tests.tuning.processes import at_once
from tests.tuning.workers import STUDY, ask_all_queued, open_fresh

QUEUED = 60


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


def test_sqlite_keeps_a_write_ahead_log(tmp_path: Path, url: str) -> None:
    open_storage(url)
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_transaction_that_only_reads_keeps_other_writers_out(tmp_path: Path, url: str) -> None:
    storage = open_storage(url)
    with closing(sqlite3.connect(tmp_path / "optuna.db", timeout=0, isolation_level=None)) as other:
        with storage.engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def test_a_study_is_there_when_it_is_opened_again(url: str) -> None:
    optuna.create_study(study_name="kept", storage=open_storage(url)).add_trial(optuna.create_trial(value=0.5))
    assert optuna.load_study(study_name="kept", storage=open_storage(url)).best_value == 0.5


def test_no_queued_trial_is_handed_to_two_processes(url: str) -> None:
    study = optuna.create_study(study_name=STUDY, storage=open_storage(url))
    for label in range(QUEUED):
        study.enqueue_trial({}, user_attrs={"label": label})
    handed = at_once(ask_all_queued, [url] * 4)
    assert sorted(label for labels in handed for label in labels) == list(range(QUEUED))


def test_eight_processes_may_open_a_fresh_database_at_once(url: str) -> None:
    assert sorted(at_once(open_fresh, [url] * 8)) == list(range(8))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("garbage", "that is no URL"),
        ("", "that is no URL"),
        ("://user:secret@host", "that is no URL"),
        ("nodialect://user:secret@host/x", r"nodialect://user:\*\*\*@host/x: Can't load plugin"),
        ("sqlite+nodriver:///x.db", "Can't load plugin"),
        ("sqlite://user:secret@host/x.db", "Invalid SQLite URL"),
        ("postgresql+nodriver://user:secret@127.0.0.1:1/x", r"user:\*\*\*@127\.0\.0\.1:1/x: Can't load plugin"),
        ("postgresql://user:secret@host:notaport/x", "notaport"),
        ("postgresql+nodriver://host/x?user=me&password=secret", "Can't load plugin"),
        ("sqlite:///x.db?timeout=soon", "soon"),
        ("sqlite:///\0", "null"),
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
    ],
)
def test_a_bad_url_is_refused_in_one_line_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"^--storage must be the URL of a database .*{reason}") as caught:
        open_storage(bad)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_postgresql_without_its_driver_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(InputError, match=r"needs pip install 'variantlab\[postgres\]'\)$") as caught:
        open_storage(f"postgresql+{driver}://me:secret@host/x")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="unable to open database file"):
        open_storage(f"sqlite:///{tmp_path}/file/optuna.db")


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, url: str) -> None:
    (tmp_path / "optuna.db").write_text("these are notes, " * 100)
    with pytest.raises(InputError, match="file is not a database"):
        open_storage(url)
    assert (tmp_path / "optuna.db").read_text().startswith("these are notes")
