"""Experiments are named by their purpose, and the one of `mlflow run` is ours where nobody else has runs in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking.mlflow_tracker import EXPERIMENT_TAGS, MlflowTracker
from pipeline.tracking.port import PUBLISHED, VARIANTS, RunStart
from tests.tracking.conftest import use
from tests.waiting import wait_until

Open = Callable[[], MlflowTracker]
SEARCH, TABLE = RunStart(name="s", role="search"), RunStart(name="t", role="reproduce", purpose=PUBLISHED)


def experiment_of(tracker: MlflowTracker, run_id: str) -> str:
    return tracker.client.get_experiment(tracker.get(run_id).experiment).name


def test_runs_go_to_the_experiment_of_their_purpose_and_children_to_that_of_their_parent(
    mlflow_tracker: MlflowTracker,
) -> None:
    search, table = mlflow_tracker.start(SEARCH), mlflow_tracker.start(TABLE)
    below = mlflow_tracker.start(SEARCH, table)
    names = [experiment_of(mlflow_tracker, run.id) for run in (search, table, below)]
    assert names == [VARIANTS, PUBLISHED, PUBLISHED]
    assert [record.id for record in mlflow_tracker.find("search", experiment="")] == [search.id]
    assert {record.id for record in mlflow_tracker.find("search")} == {search.id, below.id}
    for name in (VARIANTS, PUBLISHED):
        found = mlflow_tracker.client.get_experiment_by_name(name)
        assert found is not None
        assert found.tags.items() >= EXPERIMENT_TAGS.items()


def test_what_mlflow_run_uses_is_named_by_its_purpose(open_mlflow: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_mlflow().experiment_id == "0"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    tracker = open_mlflow()
    assert experiment_of(tracker, tracker.start(TABLE).id) == VARIANTS


def test_an_experiment_with_runs_of_others_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    use(monkeypatch, uri, tmp_path)
    client = mlflow.MlflowClient(uri)
    client.create_run("0", run_name="not ours")
    tracker = MlflowTracker()
    assert client.get_experiment("0").name == "Default"
    assert experiment_of(tracker, tracker.start(SEARCH).id) == VARIANTS


def test_the_run_that_mlflow_run_made_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    use(monkeypatch, uri, tmp_path)
    run = mlflow.MlflowClient(uri).create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    tracker = MlflowTracker()
    assert tracker.start(SEARCH).id == run
    assert experiment_of(tracker, run) == VARIANTS


def test_an_experiment_that_the_user_names_is_for_everything(
    open_mlflow: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "which head?")
    tracker = open_mlflow()
    assert {experiment_of(tracker, tracker.start(start).id) for start in (SEARCH, TABLE)} == {"which head?"}


def test_system_metrics_are_logged_when_they_are_asked_for(open_mlflow: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    tracker = open_mlflow()
    quiet = tracker.start(SEARCH)
    quiet.end("FINISHED")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    watched, trial = tracker.start(SEARCH), tracker.start(RunStart(name="t", role="trial"))
    wait_until(lambda: any(name.startswith("system/") for name in tracker.get(watched.id).metrics))
    for run in (watched, trial):
        run.end("FINISHED")
    assert "system/cpu_utilization_percentage" in tracker.get(watched.id).metrics
    assert not any(tracker.get(run.id).metrics for run in (quiet, trial))
