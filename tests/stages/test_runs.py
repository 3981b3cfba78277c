"""What was run, as a list at the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.base.errors import InputError
from pipeline.reports.layout import markdown
from pipeline.stages import runs
from pipeline.stages.runs import RunsConfig
from pipeline.tracking.port import Metric, RunStart, Status
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

BEGAN = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def tracker() -> MemoryTracker:
    """Two searches with a trial each, and three evaluations, of which one was killed; an hour between their starts."""
    tracker = MemoryTracker()
    entries: list[tuple[str, str, Status, dict[str, float]]] = [
        ("search", "mlp", "FINISHED", {"cv_validation_error": 0.2}),
        ("trial", "mlp", "FINISHED", {"cv_validation_error": 0.2}),
        ("evaluate", "mlp", "FINISHED", {"final_test_error": 0.18, "parameters": 171538}),
        ("search", "mlp_ws", "FAILED", {"cv_validation_error": math.nan}),
        ("trial", "mlp_ws", "KILLED", {}),
        ("evaluate", "mlp_ws", "KILLED", {}),
        ("evaluate", "mlp_ws", "FINISHED", {"final_test_error": 0.15, "parameters": 86920}),
    ]
    for hour, (role, model, status, metrics) in enumerate(entries):
        began = BEGAN + timedelta(hours=hour)
        start = RunStart(
            name=f"{role} {model}", role=role, params={"model": model}, tags={"model": model}, started=began
        )
        run = tracker.start(start)
        run.log(metrics=[Metric(name, value) for name, value in metrics.items()])
        run.end(status, began + timedelta(minutes=5))
    return tracker


def listed(tracker: MemoryTracker, **options: Any) -> list[dict[str, Any]]:
    """What a program reads."""
    found: list[dict[str, Any]] = json.loads(
        markdown([runs.run(RunsConfig(format="json", **options), tracker, Silent())])
    )
    return found


def names(tracker: MemoryTracker, **options: Any) -> list[str]:
    return [each["name"] for each in listed(tracker, **options)]


def test_the_newest_comes_first_and_trials_when_they_are_asked_for(tracker: MemoryTracker) -> None:
    whole = ["evaluate mlp_ws", "evaluate mlp_ws", "search mlp_ws", "evaluate mlp", "search mlp"]
    assert names(tracker) == whole
    assert names(tracker, descending=True) == whole[::-1]
    assert names(tracker, limit=2) == whole[:2]
    assert names(tracker, limit=0) == whole
    assert names(tracker, stage="trial") == ["trial mlp_ws", "trial mlp"]


def test_it_is_filtered_by_model_stage_and_status(tracker: MemoryTracker) -> None:
    assert names(tracker, model="mlp") == ["evaluate mlp", "search mlp"]
    assert names(tracker, stage="evaluate", status="KILLED") == ["evaluate mlp_ws"]
    assert names(tracker, model="mlp", status="FAILED") == []


def test_a_metric_sorts_what_has_it(tracker: MemoryTracker) -> None:
    assert names(tracker, sort="final_test_error") == ["evaluate mlp_ws", "evaluate mlp"]
    assert names(tracker, sort="parameters", descending=True) == ["evaluate mlp", "evaluate mlp_ws"]


def test_programs_get_params_metrics_and_seconds(tracker: MemoryTracker) -> None:
    [newest] = listed(tracker, limit=1)
    assert newest["params"] == {"model": "mlp_ws"}
    assert newest["metrics"] == {"final_test_error": 0.15, "parameters": 86920}
    assert newest["seconds"] == 300
    assert datetime.fromisoformat(newest["started"]) == BEGAN + timedelta(hours=6)
    [failed] = listed(tracker, status="FAILED")
    assert failed["metrics"] == {"cv_validation_error": None}  # NaN is not JSON


def test_what_a_run_took_is_not_said_where_the_clock_was_set_back(tracker: MemoryTracker) -> None:
    """Older versions left runs that end before they begin."""
    newest = max(tracker.runs, key=lambda run: run.started)
    newest.ended = newest.started - timedelta(days=1)
    assert listed(tracker, limit=1)[0]["seconds"] is None
    text = markdown([runs.run(RunsConfig(limit=2), tracker, Silent())])
    assert [line.split("|")[6].strip() for line in text.splitlines()[2:]] == ["-", "5 min"]


def test_csv_has_the_same_runs_with_a_column_for_each_param_and_metric(tracker: MemoryTracker) -> None:
    text = markdown([runs.run(RunsConfig(format="csv", stage="evaluate"), tracker, Silent())])
    rows = [*csv.DictReader(io.StringIO(text))]
    assert [row["run"] for row in rows] == [each["run"] for each in listed(tracker, stage="evaluate")]
    assert [row["metrics.final_test_error"] for row in rows] == ["0.15", "", "0.18"]
    assert {row["params.model"] for row in rows} == {"mlp", "mlp_ws"}
    empty = markdown([runs.run(RunsConfig(format="csv", stage="compare"), tracker, Silent())])
    assert [*csv.DictReader(io.StringIO(empty))] == []


def test_people_see_the_error_and_what_they_sorted_by(tracker: MemoryTracker) -> None:
    text = markdown([runs.run(RunsConfig(sort="parameters"), tracker, Silent())])
    [titles, _, first, second] = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert titles[-2:] == ["result", "parameters"]
    assert (first[-2:], second[-2:]) == (["15.00 %", "86920"], ["18.00 %", "171538"])
    assert runs.run(RunsConfig(stage="compare"), tracker, Silent()) == "No run fits."


def test_results_are_in_the_unit_of_the_metric_that_a_run_is_ranked_by(tracker: MemoryTracker) -> None:
    for unit, value in (("mm", 3.14159), ("%", 0.25)):
        start = RunStart(name="evaluate", role="evaluate", tags={"metric": "rmse", "unit": unit})
        run = tracker.start(start)
        run.log(metrics=[Metric("final_test_error", 0.5), Metric("final_test_rmse", value)])
        run.end("FINISHED")
    text = markdown([runs.run(RunsConfig(limit=2), tracker, Silent())])
    assert [line.strip("| ").split("|")[-1].strip() for line in text.splitlines()[2:]] == ["25.00 %", "3.142 mm"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "mpl"}, "did you mean mlp"),
        ({"stage": "evalute"}, "did you mean evaluate"),
        ({"status": "finished"}, "unknown status 'finished'"),
        ({"format": "yaml"}, "unknown format 'yaml'"),
        ({"limit": -1}, "at least 0 (all), but got -1"),
        ({"sort": "test_error"}, "did you mean final_test_error"),
        ({"sort": ""}, "--sort must be started or the name of a metric"),
        ({"experiment": "elsewhere"}, "unknown experiment 'elsewhere'"),
    ],
)
def test_what_there_is_not_is_said(tracker: MemoryTracker, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        runs.run(RunsConfig(**options), tracker, Silent())
