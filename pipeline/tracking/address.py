"""Where the tracking store is."""

from __future__ import annotations

import os

DEFAULT_URI = "sqlite:///mlflow.db"


def tracking_uri() -> str:
    """The tracking store in use: `MLFLOW_TRACKING_URI`, or `sqlite:///mlflow.db` in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_sqlite(uri: str) -> bool:
    """Whether the store is a file, which one process at a time writes to."""
    return uri.startswith("sqlite:")


def is_database(uri: str) -> bool:
    """Whether the store is a database that SQLAlchemy reaches, and neither a server nor a folder."""
    return uri.partition(":")[0].partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")
