"""Where studies are kept: Optuna's RDB storage, set up so that several processes can share it."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import event

from pipeline.errors import InputError, hide_secrets
from pipeline.locks import machine_lock

Storage = RDBStorage
URL = re.compile(r"[\w+]+://")


def open_storage(url: str) -> Storage:
    """Open the database at a SQLAlchemy URL, creating its tables once.

    Two processes that create the tables at once would collide, so one waits. SQLite runs in WAL mode with transactions
    that begin IMMEDIATE: with deferred ones two workers can be handed the same queued trial.
    Raises InputError when the database cannot be opened.
    """
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise ValueError("a database in memory dies with its process; name a file")
        with machine_lock("optuna tables", url), _quiet_migrations():
            storage = RDBStorage(
                url, engine_kwargs={} if parsed.get_backend_name() == "sqlite" else {"pool_pre_ping": True}
            )
            if parsed.get_backend_name() == "sqlite":
                _share_sqlite(storage)
                storage.get_all_studies()
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.OptunaError,
        ImportError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise InputError(
            f"--storage must be the URL of a database that can be written, such as sqlite:///optuna.db, but "
            f"{hide_secrets(f'{url}: {reason}') if URL.match(url) else f'that is no URL: {reason}'}"
        ) from error
    return storage


def is_there(url: str) -> bool:
    """Whether there can be studies at a URL; not where opening it would create its file."""
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return True  # opening it says what is wrong
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).exists()


def resolved(url: str) -> str:
    """The same for every way to name one database: SQLite files by their absolute path."""
    parsed = sqlalchemy.make_url(url)
    return str(Path(str(parsed.database)).resolve()) if parsed.get_backend_name() == "sqlite" else url


@contextlib.contextmanager
def _quiet_migrations() -> Iterator[None]:
    logger = logging.getLogger("alembic")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _share_sqlite(storage: RDBStorage) -> None:
    def connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
        connection.execute("PRAGMA busy_timeout = 60000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", connect)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # what was opened before does not know of these
