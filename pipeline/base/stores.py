"""What is wrong with a file or a database that cannot be used, told from what the system and the drivers say of it."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipeline.base.errors import StoreError
from pipeline.base.files import full_place, is_no_space, no_space

DAMAGED = ("database disk image is malformed", "file is not a database", "malformed database schema")
"""What SQLite says of a file in which bytes are wrong, or missing, or which never was a database."""
NOT_WRITABLE = (
    "attempt to write a readonly database",
    "unable to open database file",
    "in a read-only transaction",
    "permission denied for",
    *(os.strerror(number) for number in (errno.EACCES, errno.EPERM, errno.EROFS)),
)
"""What SQLite, PostgreSQL and the system say where this user may not write."""
LOCKED = "database is locked"


def store_error(error: BaseException, place: Path | str, if_damaged: str) -> StoreError | None:
    """The error to raise for what a driver or the system raised of a store at this place; None for what is not known.

    `if_damaged` says what is lost where the store is damaged, and how to go on.
    """
    if is_no_space(error):
        return no_space(place)
    said = [line for each in _chain(error) for line in _texts(each)]
    for texts, rule, fault, remedy in (
        (DAMAGED, "what is read must be as it was written", "is damaged", if_damaged),
        (
            NOT_WRITABLE,
            "what is found is written down",
            "cannot be written",
            "let this user write to it and to its folder (chmod u+w), or name another place",
        ),
        ((LOCKED,), "one program at a time writes to a file", "is locked", "end the program that keeps it open"),
    ):
        for text in texts:
            if any(text in line for line in said):
                return StoreError(rule, f"{place} {fault} ({text})", remedy)
    return None


def named_file(error: OSError) -> str:
    """The file that an error names, of a copy the one that is written; empty if it names none."""
    return os.fsdecode(error.filename2 or error.filename or "")


def not_written(error: OSError, place: str = "") -> StoreError | None:
    """The error to raise for one of the system's that says that something cannot be written; None for others.

    `place` is what was being written, if the error itself does not name it.
    """
    place = place or named_file(error)
    if not place and is_no_space(error):
        place = full_place([Path.cwd(), Path(tempfile.gettempdir())])
    return store_error(error, place, "write it anew") if place else None


def try_to_write(path: Path) -> None:
    """Raise sqlite3.Error unless an SQLite file can be written, or made: what is written is not kept."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")  # of a file that is read-only SQLite makes this a BEGIN
        [version] = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("ROLLBACK")


def damage(path: Path) -> str:
    """The first thing that is wrong in an SQLite file, all of which is read; empty if it is sound."""
    try:
        with closing(sqlite3.connect(path)) as database:
            [first] = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not any(text in str(error) for text in DAMAGED):
            raise
        return str(error)
    return "" if first == "ok" else " ".join(str(first).split())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _texts(error: BaseException) -> Iterator[str]:
    yield str(error)
    if isinstance(error, OSError) and error.errno:
        yield os.strerror(error.errno)
