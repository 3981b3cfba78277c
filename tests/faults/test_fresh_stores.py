"""Eight processes that begin at once on databases that are not there yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking.mlflow_tracker import MlflowTracker
from tests.faults.postgres import PostgresServer
from tests.faults.scale import scaled
from tests.tracking.conftest import use
from tests.tracking.workers import track_one_run
from tests.tuning.processes import at_once
from tests.tuning.workers import open_fresh

PROCESSES = 8
TIMES = scaled(10, 1)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nobody_fails(server: PostgresServer, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(TIMES):
        urls = {}
        for purpose in ("optuna", "mlflow"):
            urls[purpose] = f"sqlite:///{tmp_path}/{purpose}{number}.db"
            if kind == "postgresql":
                server.create(f"{purpose}{number}")
                urls[purpose] = server.url(f"{purpose}{number}")
        assert sorted(at_once(open_fresh, [urls["optuna"]] * PROCESSES)) == list(range(PROCESSES))
        use(monkeypatch, urls["mlflow"], tmp_path)
        written = at_once(track_one_run, [urls["mlflow"]] * PROCESSES)
        tracker = MlflowTracker()
        assert {experiment for experiment, _ in written} == {tracker.experiment_id}
        assert {record.id for record in tracker.find("search")} == {run for _, run in written}
