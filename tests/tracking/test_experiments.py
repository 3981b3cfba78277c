"""Experiments are named by their purpose, and the one of `mlflow run` is ours where nobody else has runs in it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from mlflow.cli import cli as mlflow_command

from pipeline.base.errors import InputError
from pipeline.base.resources import CHECKOUT
from pipeline.tasks.registry import factor_names
from pipeline.tracking.mlflow_tracker import EXPERIMENT_KIND, MlflowTracker
from pipeline.tracking.port import PUBLISHED, VARIANTS, RunStart
from pipeline.tracking.views import views
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
    expected = EXPERIMENT_KIND | dict(view.tag for view in views(factor_names()))
    for name in (VARIANTS, PUBLISHED):
        found = mlflow_tracker.client.get_experiment_by_name(name)
        assert found is not None
        assert found.tags.items() >= expected.items()


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


@pytest.mark.parametrize("is_there", [True, False], ids=["deleted", "deleted for good"])
def test_where_mlflows_default_experiment_is_deleted_runs_go_to_one_of_their_purpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_runs: Path, is_there: bool
) -> None:
    shutil.copy(empty_runs, tmp_path / "mlflow.db")
    use(monkeypatch, f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET name = 'Default', lifecycle_stage = 'deleted'")
        if not is_there:
            database.execute("DELETE FROM experiment_tags")
            database.execute("DELETE FROM experiments")
    tracker = MlflowTracker()
    assert experiment_of(tracker, tracker.start(SEARCH).id) == VARIANTS


def test_a_deleted_experiment_is_refused_with_the_command_that_restores_it(
    open_mlflow: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = open_mlflow()
    tracker.client.delete_experiment(tracker.experiment_id)
    with pytest.raises(InputError, match=f"{VARIANTS!r} is; restore it with `mlflow experiments restore") as caught:
        open_mlflow()
    command = str(caught.value).split("`")[1]
    result = CliRunner().invoke(mlflow_command, command.split()[1:])
    assert result.exit_code == 0, result.output
    assert open_mlflow().experiment_id == tracker.experiment_id
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "12345")
    with pytest.raises(
        InputError, match=r"MLFLOW_EXPERIMENT_ID must be the id of an experiment, but .* 12345; `mlflow"
    ):
        open_mlflow()


def test_a_run_that_mlflow_run_made_for_bad_input_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    use(monkeypatch, uri, tmp_path)
    assert CHECKOUT is not None
    mlflow.MlflowClient(uri).create_run("0", tags={"mlflow.source.name": CHECKOUT.as_uri()})
    assert MlflowTracker().experiment_id == "0"


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
