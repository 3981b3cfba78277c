"""A tracking server behind a network that loses connections and answers, and that asks for a password."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.base.errors import InputError
from pipeline.tracking import mlflow_tracker
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.patience import MADE
from pipeline.tracking.port import PUBLISHED, ModelToLog, RunStart
from tests.faults.tracking_server import Proxy, Server, proxy
from tests.tracking.conftest import use

EVALUATION = RunStart(name="e", role="evaluate", purpose=PUBLISHED)
CREATING = {
    "create_run": "runs/create",
    "create_experiment": "experiments/create",
    "create_logged_model": "mlflow/logged-models",
    "create_registered_model": "registered-models/create",
    "create_model_version": "model-versions/create",
    "log_outputs": "runs/outputs",
}
"""Call -> the end of the path that it asks for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def between(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that the environment names as the tracking server."""
    with proxy(server) as between:
        use(monkeypatch, between.url, tmp_path)
        yield between


def test_what_a_server_has_done_is_not_done_again_when_its_answer_is_lost(between: Proxy) -> None:
    assert CREATING.keys() == MADE.keys()
    lost = set[str]()

    def loses(method: str, path: str) -> bool:
        ends = {end for end in CREATING.values() if method == "POST" and path.endswith(end)} - lost
        lost.update(ends)
        return bool(ends)

    between.loses_answer = loses
    tracker = MlflowTracker()
    run = tracker.start(EVALUATION)
    example = torch.zeros(2, 3)
    run.model(ModelToLog(name="m", network=nn.Flatten(), example=example, description="", metrics=[]))
    assert tracker.register(run, "registered") == "1"
    assert lost == set(CREATING.values()), between.passed
    client: Any = tracker.client
    experiment = client.get_experiment_by_name(PUBLISHED).experiment_id
    [made] = client.search_runs([experiment])
    [logged] = client.search_logged_models([experiment])
    assert [output.model_id for output in made.outputs.model_outputs] == [logged.model_id]
    [version] = client.search_model_versions("name = 'registered'")
    assert (version.run_id, version.source) == (run.id, f"models:/{logged.model_id}")


def test_a_connection_that_is_dropped_at_the_start_is_made_again(
    between: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = count()
    between.is_deaf = lambda: next(attempts) == 0
    MlflowTracker()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [
        f"the tracking store at {between.url} does not answer; it is waited for",
        "the tracking store answers again",
    ]


def test_a_server_that_stays_away_is_refused_with_what_was_wrong(
    between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_tracker, "START_SECONDS", 1)
    attempts = count()
    between.is_deaf = lambda: next(attempts) >= 0
    with pytest.raises(InputError, match=r"http.* has not answered for 1 seconds \(.*Remote end closed"):
        MlflowTracker()
    assert next(attempts) > 1


@pytest.mark.parametrize("by", ["address", "variables", "token"])
def test_a_server_that_asks_for_a_password_is_given_it_and_nobody_else(
    between: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    between.authorization = f"Basic {base64.b64encode(b'me:CANARY').decode()}"
    if by == "address":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", between.url.replace("://", "://me:CANARY@"))
    elif by == "variables":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "CANARY")
    else:
        between.authorization = "Bearer CANARY"
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "CANARY")
    tracker = MlflowTracker()
    run = tracker.start(EVALUATION)
    run.text("notes.md", "kept")
    with tracker.at_once():
        run.describe("in a hurry")
    assert tracker.read_text(run.id, "notes.md") == "kept"
    assert tracker.link(run.id).startswith(f"{between.url}/#/experiments/")
    with pytest.raises(InputError, match="there is no run") as caught:
        tracker.get("0" * 32)
    assert "CANARY" not in f"{tracker.place} {caught.value} {tracker.get(run.id)} {caplog.text}"


def test_a_wrong_password_is_refused_without_it(between: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    between.authorization = "Basic none"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.url.replace("://", "://me:CANARY@"))
    with pytest.raises(
        InputError, match=r"that can be reached and written, but http://me:\*\*\*@127.0.0.1.* 401"
    ) as caught:
        MlflowTracker()
    assert "CANARY" not in str(caught.value)
