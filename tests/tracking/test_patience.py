from __future__ import annotations

import errno

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import DataError, InterfaceError, OperationalError

from pipeline.tracking.patience import is_away

POSTGRESQL, SERVER, FILE = "postgresql+psycopg://lab/runs", "http://lab:5000", "sqlite:///mlflow.db"
GONE = Exception("server closed the connection unexpectedly")


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        (POSTGRESQL, MlflowException("the connection is lost", TEMPORARILY_UNAVAILABLE)),
        (POSTGRESQL, OperationalError("ROLLBACK", {}, GONE)),
        (POSTGRESQL, InterfaceError("ROLLBACK", {}, Exception("the connection is closed"))),
        (SERVER, requests.ConnectionError()),
        (SERVER, answered(503)),
        (FILE, MlflowException("(sqlite3.OperationalError) database is locked")),
    ],
)
def test_a_store_that_does_not_answer_is_waited_for(uri: str, error: Exception) -> None:
    assert is_away(error, uri)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        (POSTGRESQL, MlflowException("no such param", INVALID_PARAMETER_VALUE)),
        (POSTGRESQL, DataError("INSERT", {}, Exception("value too long"))),
        (POSTGRESQL, OperationalError("INSERT", {}, Exception("could not extend file: No space left on device"))),
        (SERVER, answered(403)),
        (FILE, OperationalError("INSERT", {}, Exception("database or disk is full"))),
        (FILE, OperationalError("INSERT", {}, Exception("no such table: runs"))),
        (FILE, OSError(errno.ENOENT, "no such file")),
    ],
)
def test_what_waiting_does_not_mend_is_told_at_once(uri: str, error: Exception) -> None:
    assert not is_away(error, uri)
