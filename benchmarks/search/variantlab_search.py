"""`variantlab search` as a command, from the start of its process to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import mlflow
import optuna
from optuna.trial import TrialState

from benchmarks.search.contestants import Order, Result, Search, Trial
from pipeline.base.errors import StageError

STUDY = "search"
STUDIES, RUNS = "optuna.db", "mlflow.db"


@contextmanager
def ready(order: Order) -> Iterator[Search]:
    """Write the space."""
    dimensions = [f"{name}: {dimension}\n" for name, dimension in order.contestant.space.items()]
    (order.folder / "space.yaml").write_text("".join(dimensions), encoding="utf-8")
    yield lambda trials: _search(order, trials)


def _search(order: Order, trials: int) -> Result:
    command = [sys.executable, "-m", "pipeline", "search", *_options(order, trials)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    log = order.folder / "log.txt"
    with log.open("w") as file:
        began, began_at = time.perf_counter(), datetime.now()
        status = subprocess.run(
            command,
            cwd=order.folder,
            env={**environment, "CI": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{RUNS}"},
            stdout=file,
            stderr=subprocess.STDOUT,
        ).returncode
        seconds = time.perf_counter() - began
    if status:
        last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or ["nothing was said"])[-1]
        raise StageError(f"a search must end with status 0, but `variantlab search` ended with {status}: {last}")
    return _result(order.folder, began_at, seconds)


def _options(order: Order, trials: int) -> list[str]:
    options = {
        "model": order.task.model,
        "space": "space.yaml",
        "n-trials": trials,
        "folds": order.task.folds,
        "samples": order.task.pairs,
        "seed": order.seed,
        "workers": order.parallel,
        "device": "cpu",
        "study": STUDY,
        "storage": f"sqlite:///{STUDIES}",
        "cache-dir": order.cache_dir.absolute(),
    }
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [*given, *order.contestant.options]


def _result(folder: Path, began: datetime, seconds: float) -> Result:
    """Read the study and the search's run."""
    trials = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{folder / STUDIES}").trials
    complete = [
        Trial((trial.datetime_complete - began).total_seconds(), trial.value)
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.value is not None and trial.datetime_complete is not None
    ]
    client = mlflow.MlflowClient(f"sqlite:///{folder / RUNS}")
    (run,) = client.search_runs(["0"], "tags.role = 'search'")
    return Result(
        seconds=seconds,
        trials=len(trials),
        complete=tuple(complete),
        replica_epochs=int(run.data.metrics["replica_epochs"]),
    )
