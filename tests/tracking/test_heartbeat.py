from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.base.processes import process_tag
from pipeline.base.resources import CHECKOUT
from pipeline.tracking import heartbeat
from pipeline.tracking.heartbeat import abandoned
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import RunRecord, RunStart
from tests.waiting import wait_until

ELSEWHERE = "lab:7:a.b.c.1"


def left(process: str, ago: timedelta | None, name: str = "r") -> RunRecord:
    """An open run whose last beat was so long ago, by this machine's clock."""
    beat = {} if ago is None else {"beat": (datetime.now(UTC) - ago).isoformat(timespec="seconds")}
    started = datetime.now(UTC) - timedelta(days=30)
    tags = {"process": process, **beat}
    return RunRecord(id=name, name=name, status="RUNNING", started=started, params={}, tags=tags, metrics={})


@pytest.mark.parametrize("hours", [-1, 0, 1, 12])
def test_a_process_elsewhere_lives_though_its_clock_be_hours_off(hours: int) -> None:
    assert abandoned([left(ELSEWHERE, timedelta(hours=hours))]) == []


def test_a_process_elsewhere_that_was_not_heard_of_for_a_day_is_given_up() -> None:
    runs = [left(ELSEWHERE, timedelta(hours=25)), left(ELSEWHERE, timedelta(days=9))]
    assert abandoned(runs) == runs


def test_one_run_that_beats_keeps_all_of_its_process() -> None:
    runs = [left(ELSEWHERE, timedelta(days=2)), left(ELSEWHERE, timedelta(minutes=9)), left(ELSEWHERE, None)]
    assert abandoned(runs) == []
    assert abandoned([*runs, left("other:7:a.b.c.1", timedelta(days=2), "other")])[0].name == "other"


def test_a_process_of_this_machine_is_not_given_up_for_its_silence() -> None:
    assert abandoned([left(process_tag(), timedelta(days=9))]) == []
    assert len(abandoned([left(f"{process_tag()}0", timedelta())])) == 1


def test_nothing_is_concluded_from_what_is_no_beat() -> None:
    odd = left(ELSEWHERE, None)
    assert abandoned([odd, RunRecord(**{**vars(odd), "tags": {"process": ELSEWHERE, "beat": "soon"}})]) == []


def test_who_is_known_to_be_gone_is_not_waited_for() -> None:
    runs = [left(ELSEWHERE, timedelta())]
    assert abandoned(runs, gone=ELSEWHERE) == runs


assert CHECKOUT is not None  # tests are of a checkout


@pytest.mark.parametrize(
    ("source", "days", "given_up"), [(CHECKOUT.as_uri(), 2, 1), (CHECKOUT.as_uri(), 0, 0), ("file:///other", 2, 0)]
)
def test_a_run_of_this_project_that_no_stage_came_to_open_is_given_up_after_a_day(
    mlflow_tracker: MlflowTracker, source: str, days: int, given_up: int
) -> None:
    made = round((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)
    tracker = mlflow_tracker
    tags = {"mlflow.source.name": source, "mlflow.project.entryPoint": "search"}
    run = tracker.client.create_run(tracker.experiment_id, made, tags)
    assert tracker.repair() == given_up
    assert tracker.get(run.info.run_id).status == ("KILLED" if given_up else "RUNNING")


def test_the_first_open_run_beats_until_it_ends(mlflow_tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = mlflow_tracker
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "living_tags", lambda: {"beat": "again"})
    first, second = (tracker.start(RunStart(name=name, role="search")) for name in ("first", "second"))
    wait_until(lambda: tracker.get(first.id).tags["beat"] == "again")
    assert tracker.get(second.id).tags["beat"] != "again"
    first.end("FINISHED")
    third = tracker.start(RunStart(name="third", role="search"))
    wait_until(lambda: tracker.get(third.id).tags["beat"] == "again")
    third.end("FINISHED")
