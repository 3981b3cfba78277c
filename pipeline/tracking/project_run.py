"""The run that `mlflow run` makes for a stage before it starts it, where no stage came to open it.

Without the tracker, which imports too much for a process that was stopped while it imported.
"""

from __future__ import annotations

import os
from contextlib import suppress

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.outages import TrackerAwayError
from pipeline.tracking.address import tracking_uri
from pipeline.tracking.patience import PatientClient


def end_project_run() -> None:
    """End the run that `mlflow run` made for this process, as KILLED, if nobody has ended it; it is not waited for."""
    client = PatientClient(tracking_uri())
    run_id = os.environ["MLFLOW_RUN_ID"]
    with suppress(MlflowException, SQLAlchemyError, TrackerAwayError), client.hurried():
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")


def discard_project_run() -> None:
    """Delete the run that `mlflow run` made for this process, since its input was bad and nothing ran.

    A run that a stage has opened, or that has ended, is left alone, and so is one that cannot be reached. Where the
    store is a database its params are removed for good, since one may hold a password.
    """
    client = mlflow.MlflowClient(tracking_uri())
    run_id = os.environ["MLFLOW_RUN_ID"]
    with suppress(MlflowException, SQLAlchemyError):
        run = client.get_run(run_id)
        if run.info.status in ("RUNNING", "KILLED") and "role" not in run.data.tags:  # KILLED by a tracker's end
            client.set_terminated(run_id, "FAILED")
            client.delete_run(run_id)
            if not tracking_uri().startswith("http"):
                _remove_params(run_id)


def _remove_params(run_id: str) -> None:
    """Remove what a deleted run keeps; of it nothing else comes from the command line."""
    engine = create_engine(tracking_uri())
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what was deleted is overwritten
        connection.execute(text("DELETE FROM params WHERE run_uuid = :run_id"), {"run_id": run_id})
    engine.dispose()
