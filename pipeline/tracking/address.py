"""Where the tracking store is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from pipeline.base.errors import InputError

DEFAULT_URI = "sqlite:///mlflow.db"
IF_DAMAGED = (
    "put a copy back, or move it away and start again: the command of a search logs the runs of its study once more, "
    "evaluations and comparisons have to be run again"
)
"""How to go on where the store is damaged."""


def tracking_uri() -> str:
    """The tracking store in use: `MLFLOW_TRACKING_URI`, or `sqlite:///mlflow.db` in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_sqlite(uri: str) -> bool:
    """Whether the store is a file, which one process at a time writes to."""
    return uri.startswith("sqlite:")


def sqlite_file(uri: str) -> Path:
    """The file of such a store. Raises InputError if its address names none."""
    try:
        url = make_url(uri)
    except ArgumentError:
        url = None
    if url is None or url.host or url.database in (None, "", ":memory:"):
        raise InputError(
            f"MLFLOW_TRACKING_URI must name a tracking store that can be reached and written, but {uri} names no file; "
            f"give {DEFAULT_URI}, or an absolute path: sqlite:////folder/mlflow.db"
        )
    return Path(str(url.database))


def is_database(uri: str) -> bool:
    """Whether the store is a database that SQLAlchemy reaches, and neither a server nor a folder."""
    return uri.partition(":")[0].partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


def server_page(uri: str) -> str:
    """The address of a server as a browser opens it: a user, a password or a token in it are for programs."""
    return re.sub(r"^(https?://)\S*@", r"\1", uri).partition("?")[0].rstrip("/")
