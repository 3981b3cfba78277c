"""What only MLflow does: projects, artifacts, models, and stores that other processes share."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pipeline.base.errors import InputError
from pipeline.base.interruptions import SIGNALS, raise_on_signals
from pipeline.base.processes import process_tag
from pipeline.data.dataset import Splits, digest_of
from pipeline.models.exported import Exported
from pipeline.models.initial import build_network
from pipeline.tasks.registry import get_variant
from pipeline.tracking import mlflow_tracker as mlflow_tracker_module
from pipeline.tracking import times
from pipeline.tracking.address import tracking_uri
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import Metric, ModelToLog, Run, RunStart, curve, stage_run
from pipeline.tracking.project_run import end_project_run, refuse_project_run
from tests.synthetic import make_digits, make_points
from tests.tracking.conftest import use
from tests.tracking.workers import track_one_run
from tests.tuning.processes import at_once

Open = Callable[[], MlflowTracker]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SEARCH = RunStart(name="r", role="search")


def test_without_a_variable_the_store_is_a_database_in_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"


def test_a_link_is_a_page_of_the_server_or_of_a_user_interface_at_its_usual_address(
    mlflow_tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"#/experiments/{mlflow_tracker.experiment_id}/runs/abc"
    assert mlflow_tracker.link("abc") == f"http://127.0.0.1:5000/{page}"
    for uri in (
        "https://mlflow.example.org/",
        "https://me:of/the@lab@mlflow.example.org",
        "https://token@mlflow.example.org",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert mlflow_tracker.link("abc") == f"https://mlflow.example.org/{page}"


def test_every_run_says_where_it_comes_from(mlflow_tracker: MlflowTracker) -> None:
    tags = mlflow_tracker.get(mlflow_tracker.start(SEARCH).id).tags
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert tags["git_commit"] == (commit or "unknown")
    assert tags["git_dirty"] in {"true", "false", "unknown"}
    assert tags["process"] == process_tag()
    assert tags["role"] == "search"


def test_children_stand_below_their_parent(mlflow_tracker: MlflowTracker) -> None:
    first, second = mlflow_tracker.start(SEARCH), mlflow_tracker.start(SEARCH)
    child = mlflow_tracker.start(RunStart(name="child", role="trial"), first)
    assert mlflow_tracker.get(child.id).tags["mlflow.parentRunId"] == first.id
    mlflow_tracker.reopen(mlflow_tracker.get(child.id), second)
    assert mlflow_tracker.get(child.id).tags["mlflow.parentRunId"] == second.id
    assert "mlflow.parentRunId" not in mlflow_tracker.get(first.id).tags


def test_names_and_descriptions_are_those_that_mlflow_shows(mlflow_tracker: MlflowTracker) -> None:
    run = mlflow_tracker.start(RunStart(name="before", role="search", description="at first"))
    assert mlflow_tracker.get(run.id).tags["mlflow.note.content"] == "at first"
    run.describe("at last")
    record = mlflow_tracker.get(run.id)
    assert (record.name, record.tags["mlflow.note.content"]) == ("before", "at last")


def test_a_description_that_is_too_long_for_mlflow_ends_with_a_whole_line(mlflow_tracker: MlflowTracker) -> None:
    line = "| mlp_ws_al | 7.69 ± 1.25 % |"
    run = mlflow_tracker.start(SEARCH)
    run.describe("\n".join([line] * 1000))
    *lines, empty, rest = mlflow_tracker.get(run.id).tags["mlflow.note.content"].split("\n")
    assert set(lines) == {line}
    assert len(lines) > 200
    assert (empty, rest) == ("", "The rest is in the run's artifacts.")


def test_times_are_kept(mlflow_tracker: MlflowTracker) -> None:
    run = mlflow_tracker.start(RunStart(name="r", role="trial", started=NOON))
    run.log(metrics=[Metric("error", 0.5)], at=NOON + timedelta(seconds=1))
    run.end("FINISHED", NOON + timedelta(seconds=2))
    info = mlflow_tracker.client.get_run(run.id).info
    (metric,) = mlflow_tracker.client.get_metric_history(run.id, "error")
    noon = int(NOON.timestamp() * 1000)
    assert (info.start_time, metric.timestamp, info.end_time) == (noon, noon + 1000, noon + 2000)


@pytest.fixture
def tomorrow(mlflow_tracker: MlflowTracker) -> str:
    """A run that another process began before the clock was set back by a day."""
    made = times.now() + 24 * 3600 * 1000
    tags = {"process": f"{process_tag()}0", "role": "search"}
    return str(mlflow_tracker.client.create_run(mlflow_tracker.experiment_id, made, tags).info.run_id)


def lasted(tracker: MlflowTracker, run_id: str) -> float | None:
    record = tracker.get(run_id)
    assert record.ended is not None
    return record.seconds


def test_a_run_lasts_as_long_as_a_clock_says_that_nobody_sets(
    mlflow_tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = itertools.count(0, 10_000.0)
    monkeypatch.setattr(times, "_elapsed", lambda: next(passed))
    run = mlflow_tracker.start(SEARCH)
    monkeypatch.setattr(times, "now", lambda: 0)
    run.end("FINISHED")
    assert lasted(mlflow_tracker, run.id) == pytest.approx(10_000, abs=60)


@pytest.mark.parametrize("how", ["repaired", "discarded", "taken up", "never opened"])
def test_a_run_of_another_process_does_not_end_before_it_began(
    mlflow_tracker: MlflowTracker, tomorrow: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "repaired":
        assert mlflow_tracker.repair() == 1
    elif how == "discarded":
        mlflow_tracker.discard(mlflow_tracker.get(tomorrow))
    elif how == "taken up":
        mlflow_tracker.reopen(mlflow_tracker.get(tomorrow), again=True).end("FINISHED")
    else:
        monkeypatch.setenv("MLFLOW_RUN_ID", tomorrow)
        end_project_run()
    seconds = lasted(mlflow_tracker, tomorrow)
    assert seconds is not None
    assert 0 <= seconds < 60


def test_the_same_batch_at_the_same_time_is_stored_once(mlflow_tracker: MlflowTracker) -> None:
    run = mlflow_tracker.start(SEARCH)
    for _ in range(2):
        run.log(metrics=curve("error", [0.5, 0.4]), at=NOON)
    assert len(mlflow_tracker.client.get_metric_history(run.id, "error")) == 2


def test_more_metrics_and_params_than_mlflow_takes_at_once_are_all_kept(mlflow_tracker: MlflowTracker) -> None:
    run = mlflow_tracker.start(SEARCH)
    values = np.linspace(1, 0, 1500).tolist()
    run.log(params={f"p{number}": number for number in range(150)}, metrics=curve("error", values))
    assert mlflow_tracker.history(run.id, "error") == values
    assert len(mlflow_tracker.get(run.id).params) == 150


def test_sqlite_gets_statistics_of_a_store_that_has_become_large_once(
    open_mlflow: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tables() -> set[str]:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}

    run = open_mlflow().start(SEARCH)
    monkeypatch.setattr(mlflow_tracker_module, "LARGE", 2)
    for metrics, has_statistics in ((2, False), (1, True)):
        run.log(metrics=[Metric(f"{metrics} {number}", 0.5) for number in range(metrics)])
        open_mlflow()
        assert ("sqlite_stat1" in tables()) is has_statistics


def test_time_in_the_tracker_is_counted(mlflow_tracker: MlflowTracker) -> None:
    before = mlflow_tracker.seconds
    mlflow_tracker.start(SEARCH)
    assert mlflow_tracker.seconds > before > 0


def test_texts_and_figures_are_artifacts(mlflow_tracker: MlflowTracker) -> None:
    run = mlflow_tracker.start(SEARCH)
    run.text("folder/table.md", "| ü |\n")
    figure = Figure()
    figure.subplots().plot([1, 2])
    run.figure("picture.png", figure)
    folder = Path(mlflow_tracker.client.download_artifacts(run.id, ""))
    assert (folder / "folder" / "table.md").read_text(encoding="utf-8") == "| ü |\n"
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


DIGITS = Splits(
    name="synthetic",
    source="made up",
    options={"pooling": "max"},
    train=make_digits(20, "a"),
    test=make_digits(10, "b"),
)
POINTS = Splits(name="plane", source="made up", train=make_points(20, "a"), test=make_points(10, "b"))


@pytest.mark.parametrize("test_data", [False, True])
@pytest.mark.parametrize(
    ("splits", "profile"),
    [(DIGITS, {"digits": 20, "shape": [20, 14, 14]}), (POINTS, {"points": 20, "shape": [20, 2]})],
    ids=["digits", "points"],
)
def test_data_are_inputs_with_digests(
    mlflow_tracker: MlflowTracker, splits: Splits, profile: dict[str, Any], test_data: bool
) -> None:
    run = mlflow_tracker.start(RunStart(name="r", role="evaluate", data=splits, test_data=test_data))
    attached: Any = mlflow_tracker.client.get_run(run.id).inputs
    inputs = {each.dataset.name: each for each in attached.dataset_inputs}
    names = f"{splits.name}-train", f"{splits.name}-test"
    assert set(inputs) == set(names[: 1 + test_data])
    train = inputs[names[0]]
    assert digest_of(*splits.train.arrays).startswith(train.dataset.digest)
    assert len(train.dataset.digest) == 12
    assert json.loads(train.dataset.source) == {"description": "made up", **splits.options}
    assert json.loads(train.dataset.profile) == profile
    contexts = [inputs[name].tags[0].value for name in names[: 1 + test_data]]
    assert contexts == ["training", "evaluation"][: 1 + test_data]


def test_a_run_that_rests_on_others_has_their_data_once(mlflow_tracker: MlflowTracker) -> None:
    def resting_on(*ids: str) -> tuple[set[str], dict[str, str]]:
        start = RunStart(name="c", role="compare", data_of=[mlflow_tracker.get(each) for each in ids])
        run = mlflow_tracker.client.get_run(mlflow_tracker.start(start).id)
        attached: Any = run.inputs
        names = [each.dataset.name for each in attached.dataset_inputs]
        assert len(names) == len(set(names))
        return set(names), {name: run.data.tags[name] for name in run.data.tags if name.startswith("dataset")}

    digits, again, points = (
        mlflow_tracker.start(RunStart(name="e", role="evaluate", data=splits, test_data=True)).id
        for splits in (DIGITS, DIGITS, POINTS)
    )
    of_digits = {f"{DIGITS.name}-train", f"{DIGITS.name}-test"}
    assert resting_on(digits, again) == (of_digits, {"dataset": DIGITS.name, "dataset_digest": DIGITS.digest})
    both, shared = resting_on(digits, points)
    assert both == {*of_digits, f"{POINTS.name}-train", f"{POINTS.name}-test"}
    assert "dataset_digest" not in shared


def test_the_run_of_a_project_is_resumed_once(open_mlflow: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_mlflow().client
    project = client.create_run("0", run_name="made by mlflow run")
    client.log_param(project.info.run_id, "folds", "'5'")
    monkeypatch.setenv("MLFLOW_RUN_ID", project.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    tracker = open_mlflow()
    run = tracker.start(RunStart(name="search mlp", role="search", params={"folds": 5, "seed": 0}))
    child = tracker.start(RunStart(name="trial", role="trial"), run)
    record = tracker.get(run.id)
    assert run.id == project.info.run_id != child.id
    assert record.params == {"folds": "'5'", "seed": "0"}
    assert (record.name, record.tags["role"], record.tags["process"]) == ("search mlp", "search", process_tag())
    run.log(params={"folds": 6})
    assert tracker.get(run.id).params["folds"] == "'5'"


def test_the_run_of_a_project_with_bad_input_says_why_it_failed_and_keeps_no_params(
    open_mlflow: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_mlflow().client
    project = client.create_run("0").info.run_id
    client.log_param(project, "storage", "postgresql://me:secret@host/x")
    monkeypatch.setenv("MLFLOW_RUN_ID", project)
    refuse_project_run("--storage must be better than postgresql://me:secret@host/x")
    run = client.get_run(project)
    assert (run.info.status, run.info.lifecycle_stage) == ("FAILED", "active")
    assert run.data.tags["error"] == "--storage must be better than postgresql://me:***@host/x"
    assert run.data.params == {}
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert open_mlflow().find("search") == []


def test_runs_go_to_the_experiment_of_the_environment(open_mlflow: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    default = open_mlflow()
    default.start(SEARCH)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tuning of mine")
    named = open_mlflow()
    run = named.start(SEARCH)
    assert [record.id for record in named.find("search", experiment="")] == [run.id]
    assert [record.id for record in default.find("search", experiment="tuning of mine")] == [run.id]
    assert len(default.find("search")) == 2
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", named.experiment_id)
    assert open_mlflow().experiment_id == named.experiment_id


def test_runs_of_dead_processes_are_ended_and_no_others(open_mlflow: Open) -> None:
    tracker = open_mlflow()
    died = subprocess.run(
        [sys.executable, "-m", "tests.tracking.workers"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    dead = died.stdout
    living = tracker.start(SEARCH).id
    elsewhere = tracker.start(RunStart(name="r", role="search", tags={"process": "another-host:1:1.00"})).id
    reused = tracker.start(RunStart(name="r", role="search", tags={"process": f"{process_tag()}0"})).id
    foreign = tracker.client.create_run("0").info.run_id
    done = tracker.start(RunStart(name="r", role="search", tags={"process": tracker.get(dead).tags["process"]}))
    done.end("FINISHED")
    assert tracker.get(dead).status == "RUNNING"
    assert tracker.repair() == 2
    statuses = {run: tracker.get(run).status for run in (dead, reused, living, elsewhere, foreign, done.id)}
    assert list(statuses.values()) == ["KILLED", "KILLED", "RUNNING", "RUNNING", "RUNNING", "FINISHED"]
    assert open_mlflow().repair() == 0


@pytest.fixture
def network() -> Exported:
    variant = get_variant("bncnn_ws")
    mean, std = torch.tensor(33.0), torch.tensor(78.0)
    return Exported(build_network(variant, 0), variant.objective, mean=mean, std=std).eval()


def kept(tracker: MlflowTracker, network: Exported, splits: Splits | None = None) -> Run:
    """A run with a model."""
    run = tracker.start(RunStart(name="e", role="evaluate", data=splits, test_data=splits is not None))
    run.log(metrics=[Metric("final_test_error", 0.5)])
    pairs = torch.rand((3, 2, 14, 14), generator=torch.Generator().manual_seed(0)) * 255
    metrics = [Metric("model_test_error", 0.25)]
    run.model(ModelToLog(name="m", network=network, example=pairs, description="the best one", metrics=metrics))
    return run


def test_a_model_has_its_error_with_the_test_digits_that_gave_it(
    mlflow_tracker: MlflowTracker, network: Exported
) -> None:
    run = kept(mlflow_tracker, network, DIGITS)
    outputs: Any = mlflow_tracker.client.get_run(run.id).outputs
    model: Any = mlflow_tracker.client.get_logged_model(outputs.model_outputs[0].model_id)
    assert (model.tags["mlflow.note.content"], model.source_run_id) == ("the best one", run.id)
    [metric] = model.metrics
    assert (metric.key, metric.value, metric.run_id) == ("model_test_error", 0.25, run.id)
    attached: Any = mlflow_tracker.client.get_run(run.id).inputs
    digests = {each.dataset.name: each.dataset.digest for each in attached.dataset_inputs}
    name = f"{DIGITS.name}-test"
    assert (metric.dataset_name, metric.dataset_digest) == (name, digests[name])
    assert mlflow_tracker.get(run.id).metrics == {"final_test_error": 0.5, "model_test_error": 0.25}


def test_a_registered_model_has_versions_and_a_champion(mlflow_tracker: MlflowTracker, network: Exported) -> None:
    first, second = kept(mlflow_tracker, network), kept(mlflow_tracker, network)
    assert mlflow_tracker.champion("less or equal") is None
    assert [mlflow_tracker.register(run, "less or equal") for run in (first, second)] == ["1", "2"]
    assert mlflow_tracker.champion("less or equal") is None
    for number, run in (("2", second), ("1", first)):
        mlflow_tracker.set_champion("less or equal", number)
        champion = mlflow_tracker.champion("less or equal")
        assert champion is not None
        assert champion.id == run.id
    logged: Any = mlflow.pyfunc.load_model("models:/less or equal@champion")
    pairs = np.zeros((2, 2, 14, 14), dtype=np.float32)
    np.testing.assert_allclose(logged.predict(pairs), network(torch.from_numpy(pairs)).detach().numpy(), atol=1e-6)


def test_a_logged_model_is_finished_and_holds_nothing_compiled(
    mlflow_tracker: MlflowTracker, network: Exported
) -> None:
    outputs: Any = mlflow_tracker.client.get_run(kept(mlflow_tracker, network).id).outputs
    model: Any = mlflow_tracker.client.get_logged_model(outputs.model_outputs[0].model_id)
    assert model.status == "READY"
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    assert {path.name for path in (folder / "code").iterdir()} == {"checked_pt2.py"}
    assert {path.name for path in (folder / "data").iterdir()} == {"model.pt2", "model.pt2.sha256"}


def test_a_logged_model_gives_the_same_answers_elsewhere(mlflow_tracker: MlflowTracker, network: Exported) -> None:
    pairs = torch.rand((6, 2, 14, 14), generator=torch.Generator().manual_seed(0)) * 255
    run = mlflow_tracker.start(SEARCH)
    run.model(
        ModelToLog(
            name="m",
            metrics=[Metric("model_test_error", 0.25)],
            network=network,
            example=pairs[:3],
            description="the best one",
        )
    )
    outputs: Any = mlflow_tracker.client.get_run(run.id).outputs
    (output,) = outputs.model_outputs
    logged: Any = mlflow.pyfunc.load_model(f"models:/{output.model_id}")

    expected = network(pairs).detach().numpy()
    np.testing.assert_allclose(logged.predict(pairs.numpy()), expected, atol=1e-6)
    np.testing.assert_allclose(logged.predict(pairs[:1].numpy()), expected[:1], atol=1e-6)

    signature = logged.metadata.signature
    assert [each.shape[1:] for each in signature.inputs] == [(2, 14, 14)]
    assert [each.shape[1:] for each in signature.outputs] == [(2,)]
    assert logged.metadata.metadata == {"description": "the best one"}

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}"))
    np.testing.assert_allclose(logged.metadata.load_input_example(str(folder)), pairs[:3].numpy())
    requirements = (folder / "requirements.txt").read_text().split()
    assert {f"{package}=={version(package)}" for package in ("mlflow", "torch", "numpy")} <= set(requirements)
    assert all("==" in requirement for requirement in requirements)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.suffix for path in files].count(".pt2") == 1
    assert set(logged.metadata.flavors) == {"python_function"}  # mlflow.pytorch would load what is damaged
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pth", ".pt"}]
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]


def closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}",
        "http://user:secret@127.0.0.1:{port}",
        "sqlite:///{folder}/file/mlflow.db",
        "sqlite:///{folder}/notes.txt",
        "postgresql+nodriver://user:secret@127.0.0.1:{port}/x",
        "postgresql://user:secret@127.0.0.1:noport/x",
        "garbage://store",
        "sqlite:garbage",
        "sqlite://host/mlflow.db",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_a_store_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "notes.txt").write_text("no database " * 100)
    use(monkeypatch, uri.format(port=closed_port(), folder=tmp_path), tmp_path)
    monkeypatch.setattr(mlflow_tracker_module, "START_SECONDS", 0)
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI must name a tracking store that can be") as caught:
        MlflowTracker()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert {file.name for file in tmp_path.iterdir()} == {"file", "notes.txt"}


def test_eight_processes_may_open_a_fresh_store_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    written = at_once(track_one_run, [tracking_uri()] * 8)
    tracker = MlflowTracker()
    assert {experiment for experiment, _ in written} == {tracker.experiment_id}
    assert {record.id for record in tracker.find("search")} == {run for _, run in written}
    assert {record.status for record in tracker.find("search")} == {"FINISHED"}


def test_a_run_that_a_stage_has_opened_is_never_refused(open_mlflow: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = open_mlflow()
    run = tracker.start(SEARCH)
    run.end("FINISHED")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.id)
    refuse_project_run("too late")
    assert tracker.get(run.id).status == "FINISHED"
    assert "error" not in tracker.get(run.id).tags


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated"])
def test_a_signal_in_the_middle_of_any_write_leaves_no_run_open(
    mlflow_tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write = getattr(mlflow.MlflowClient, call)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return write(*args, **kwargs)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    raise_on_signals()
    monkeypatch.setattr(mlflow.MlflowClient, call, interrupted)
    with pytest.raises(SystemExit), mlflow_tracker, stage_run(mlflow_tracker, SEARCH) as run:
        mlflow_tracker.start(RunStart(name="trial", role="trial", params={"lr": 1}), run)
    for number, handler in before.items():
        signal.signal(number, handler)
    statuses = [record.status for role in ("search", "trial") for record in mlflow_tracker.find(role)]
    assert statuses
    assert "RUNNING" not in statuses
