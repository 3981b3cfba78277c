"""Where studies are kept: Optuna's RDB storage, set up so that several processes can share it.

Besides Optuna's tables there is one of leases: see `pipeline.tuning.lease`.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, event, update
from sqlalchemy.engine import ExceptionContext

from pipeline.base.errors import InputError, hide_secrets
from pipeline.base.extras import explain_missing
from pipeline.base.interruptions import held
from pipeline.base.locks import machine_lock
from pipeline.base.outages import retry
from pipeline.base.stores import LOCKED, store_error

URL = re.compile(r"[\w+]+://")
LEASES = Table(
    "variantlab_leases",
    MetaData(),
    Column("study", Text, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
BUSY_SECONDS = 60
"""How long one process may keep the others from writing to an SQLite file."""
IF_DAMAGED = (
    "put a copy back, save what can be read (sqlite3 FILE .recover | sqlite3 NEW), or move it away with its -wal and "
    "-shm: then the same command searches anew, and the runs of the trials that it had told MLflow of stay there"
)
"""How to go on where a database is damaged: the study in it is the record of a search."""
STUCK_SECONDS = 30
"""How long PostgreSQL lets a process that was stopped inside a transaction keep others waiting."""

Result = TypeVar("Result")


class DatabaseAwayError(Exception):
    """The database of the studies does not answer at present; what was being written may or may not be there."""


class Storage(RDBStorage):
    """A database of studies that stays in use while its server is restarted."""

    def __init__(self, url: str) -> None:
        parsed = sqlalchemy.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.place = str(Path(str(parsed.database)).resolve()) if self.is_sqlite else hide_secrets(url)
        """Where it is, as people are told."""
        self.fence: Callable[[sqlalchemy.Connection], None] | None = None
        """Called first in every transaction; it raises to keep this process from writing."""
        super().__init__(url, engine_kwargs={} if self.is_sqlite else {"pool_pre_ping": True})
        if self.is_sqlite:
            event.listen(self.engine, "connect", _share_sqlite)
        elif parsed.get_backend_name() == "postgresql":
            event.listen(self.engine, "connect", _do_not_stay)
        event.listen(self.engine, "begin", self._begin)
        self.engine.dispose()  # what was opened before does not know of these
        LEASES.create(self.engine, checkfirst=True)
        with (
            self.engine.begin() as connection
        ):  # databases refuse even what changes no row where nothing may be written
            connection.execute(update(LEASES).where(LEASES.c.study == "").values(beat=0))
        event.listen(self.engine, "handle_error", self._explain)  # by now it was reached

    def _begin(self, connection: sqlalchemy.Connection) -> None:
        if self.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        if self.fence is not None:
            self.fence(connection)

    def _explain(self, context: ExceptionContext) -> None:
        """Raise what this program does something about instead of what the driver raised."""
        error, driver = context.original_exception, cast(Any, context.dialect.dbapi)
        if not isinstance(error, driver.Error):  # such as what a signal raises
            return
        if (known := store_error(error, self.place, IF_DAMAGED)) is not None and LOCKED not in str(error):
            raise known from error
        connecting = context.connection is None and isinstance(error, driver.OperationalError)
        if context.is_disconnect or connecting or LOCKED in str(error):
            raise DatabaseAwayError(str(error)) from error

    def close(self) -> None:
        """Close all connections: the last one of all processes' makes an SQLite database one file again, which can be
        copied; until then a part of it is in a `-wal` file beside it."""
        self.engine.dispose()

    def retry(self, call: Callable[[], Result]) -> Result:
        """What a call returns; it is made again when the database was away and is back: see `pipeline.base.outages`.

        Where the database is a file, signals wait for it: what they raise would leave the file locked.
        """

        def attempt() -> Result:
            with held() if self.is_sqlite else nullcontext():
                return call()

        return retry(attempt, lambda error: isinstance(error, DatabaseAwayError), "database of the studies", self.place)


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
            return Storage(url)
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.OptunaError,
        ImportError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        reason = explain_missing(getattr(error, "orig", None) or error).strip().splitlines()[0]
        if URL.match(url) and (known := store_error(error, hide_secrets(url), IF_DAMAGED)) is not None:
            raise InputError(
                f"--storage must be the URL of a database that can be written, but {known.fault}; {known.remedy}"
            ) from known
        raise InputError(
            f"--storage must be the URL of a database that can be written, such as sqlite:///optuna.db, but "
            f"{hide_secrets(f'{url}: {reason}') if URL.match(url) else f'that is no URL: {reason}'}"
        ) from error


def is_there(url: str) -> bool:
    """Whether there can be studies at a URL; not where opening it would create its file."""
    file = database_file(url)
    return file is None or os.path.exists(file)


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for others, and for what is no URL, which opening it tells."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


@contextmanager
def _quiet_migrations() -> Iterator[None]:
    logger = logging.getLogger("alembic")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _share_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the BEGIN of `Storage` is the only one
    connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _do_not_stay(connection: Any, _record: Any) -> None:
    """Let the server end a transaction whose process was stopped: others wait for its locks."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{STUCK_SECONDS}s'")
    connection.commit()
