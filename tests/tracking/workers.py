"""What other processes do to a tracking store."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import Metric, RunStart

importlib.import_module("mlflow.store.tracking.sqlalchemy_store")  # else every process imports it when it opens a store


def track_one_run(uri: str) -> tuple[str, str]:
    """Open a store that may not exist and write a run; the experiment and the run."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    tracker = MlflowTracker()
    run = tracker.start(RunStart(name="one of many", role="search"))
    run.log(params={"a": 1}, metrics=[Metric("error", 0.5)])
    run.end("FINISHED")
    return tracker.experiment_id, run.id


if __name__ == "__main__":  # tracks to the store of its environment and dies as by the out-of-memory killer
    sys.stdout.write(MlflowTracker().start(RunStart(name="of the dead", role="search")).id)
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
