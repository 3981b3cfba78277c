"""The run that `mlflow run` makes for a stage before it starts it, where no stage came to open it.

A process that was stopped while it imported has seconds to end in, and MLflow takes seconds to import: where the store
is a database, the run is ended there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.base.errors import InputError, hide_secrets
from pipeline.base.outages import TrackerAwayError
from pipeline.tracking.address import is_database, is_sqlite, sqlite_file, tracking_uri
from pipeline.tracking.times import end_of, now


def is_elsewhere(uri: str) -> bool:
    """Whether `mlflow run` made a run, but not in the store at this address, whose file is not there."""
    if "MLFLOW_RUN_ID" not in os.environ or not is_sqlite(uri):
        return False
    try:
        return not os.path.exists(sqlite_file(uri))
    except InputError:
        return True


def end_project_run() -> None:
    """End the run that `mlflow run` made for this process, as KILLED, if nobody has ended it; it is not waited for."""
    if is_elsewhere(tracking_uri()):
        return
    run_id = os.environ["MLFLOW_RUN_ID"]
    if is_database(tracking_uri()):
        ended = text(
            "UPDATE runs SET status = 'KILLED', end_time = CASE WHEN start_time > :now THEN start_time ELSE :now END "
            "WHERE run_uuid = :id AND status = 'RUNNING'"
        )
        with suppress(SQLAlchemyError), _database() as connection:
            connection.execute(ended, {"now": now(), "id": run_id})
        return
    from mlflow.exceptions import MlflowException

    from pipeline.tracking.patience import PatientClient

    client = PatientClient(tracking_uri())
    with suppress(MlflowException, TrackerAwayError), client.hurried():
        run = client.get_run(run_id)
        if run.info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED", end_of(run.info.start_time))


def refuse_project_run(error: str) -> None:
    """End the run that `mlflow run` made for this process as FAILED with this error: its input was bad, nothing ran.

    It is not deleted. `mlflow run` itself sets the status of its run at the end, and ends in a traceback where the run
    is deleted.

    A run that a stage has opened, or that has ended, is left alone, and so is one that cannot be reached. Where the
    store is a database its params are removed for good, since one may hold a password.
    """
    if is_elsewhere(tracking_uri()):
        return
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    client = mlflow.MlflowClient(tracking_uri())
    run_id = os.environ["MLFLOW_RUN_ID"]
    with suppress(MlflowException, SQLAlchemyError):
        run = client.get_run(run_id)
        if run.info.status in ("RUNNING", "KILLED") and "role" not in run.data.tags:  # KILLED by a tracker's end
            said = hide_secrets(error)
            client.set_tag(run_id, "error", said)
            client.set_tag(run_id, MLFLOW_RUN_NOTE, f"Nothing was run: {said}")
            client.set_terminated(run_id, "FAILED", end_of(run.info.start_time))
            if is_database(tracking_uri()):
                _remove_params(run_id)


def _remove_params(run_id: str) -> None:
    """Remove all that a run has from the command line."""
    with _database() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what was deleted is overwritten
        connection.execute(text("DELETE FROM params WHERE run_uuid = :run_id"), {"run_id": run_id})


@contextmanager
def _database() -> Iterator[Connection]:
    """One transaction in the tracking store."""
    engine = create_engine(tracking_uri())
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
