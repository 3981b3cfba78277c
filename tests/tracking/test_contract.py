"""What stages may expect of any tracker."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from matplotlib.figure import Figure

from pipeline.base.errors import InputError
from pipeline.data.dataset import Splits
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.registry import get_variant, variants
from pipeline.tracking import mlflow_tracker
from pipeline.tracking.port import (
    Metric,
    Run,
    RunQuery,
    RunRecord,
    RunStart,
    Tracker,
    config_tags,
    curve,
    stage_run,
    variant_params,
)
from tests.synthetic import make_digits, make_points

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def start(tracker: Tracker, name: str, *, minute: int = 0, parent: Run | None = None, **tags: str) -> Run:
    return tracker.start(RunStart(name=name, role="trial", tags=tags, started=NOON + timedelta(minutes=minute)), parent)


def names(records: list[RunRecord]) -> list[str]:
    return [record.name for record in records]


def test_what_was_logged_is_read_back(tracker: Tracker) -> None:
    run = tracker.start(
        RunStart(
            name="first", role="search", params={"pairs": 100, "pruner": "none"}, tags={"study": "s"}, started=NOON
        )
    )
    run.log(params={"lr": 1e-3}, metrics=[Metric("error", 0.5, 1), Metric("error", 0.25, 2)], tags={"state": "done"})
    run.log(metrics=[Metric("seconds", 2.0)])
    record = tracker.get(run.id)
    assert (record.id, record.name, record.status, record.started) == (run.id, "first", "RUNNING", NOON)
    assert record.params == {"pairs": "100", "pruner": "none", "lr": "0.001"}
    assert record.metrics == {"error": 0.25, "seconds": 2.0}
    assert {"role": "search", "study": "s", "state": "done"}.items() <= record.tags.items()


def test_bools_are_params_in_lower_case(tracker: Tracker) -> None:
    run = tracker.start(RunStart(name="r", role="search", params=variant_params(get_variant("mlp_al"))))
    run.log(params={"late": True})
    factors = {"arch": "mlp", "task": "pairs", "ws": "false", "al": "true"}
    assert tracker.get(run.id).params == {"model": "mlp_al", **factors, "late": "true"}


def test_a_param_that_exists_keeps_its_text(tracker: Tracker) -> None:
    run = tracker.start(RunStart(name="r", role="search", params={"folds": 5}))
    run.log(params={"folds": 3, "seed": 0})
    run.log(params={"seed": 1})
    reopened = tracker.reopen(tracker.get(run.id), start(tracker, "parent"))
    reopened.log(params={"folds": "5.0"})
    assert tracker.get(run.id).params == {"folds": "5", "seed": "0"}


def test_a_tag_that_exists_is_replaced(tracker: Tracker) -> None:
    run = start(tracker, "r", state="begun")
    run.log(tags={"state": "done"})
    assert tracker.get(run.id).tags["state"] == "done"


def test_a_batch_may_bring_another_name_and_description(tracker: Tracker) -> None:
    run = start(tracker, "r")
    run.log(metrics=[Metric("error", 0.5)], tags={"state": "begun"})
    assert tracker.get(run.id).name == "r"
    run.log(tags={"state": "complete"}, name="err 9.9 %", description="**text**")
    run.log(metrics=[Metric("error", 0.4)])
    record = tracker.get(run.id)
    assert (record.name, record.tags["state"], record.metrics) == ("err 9.9 %", "complete", {"error": 0.4})


def test_every_run_has_a_link_of_its_own(tracker: Tracker) -> None:
    first, second = start(tracker, "r"), start(tracker, "r")
    assert tracker.link(first.id) == tracker.link(first.id) != tracker.link(second.id)
    assert first.id in tracker.link(first.id)


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_ends_as_told(tracker: Tracker, status: str) -> None:
    run = start(tracker, "r")
    assert tracker.get(run.id).status == "RUNNING"
    run.end(status, NOON)  # type: ignore[arg-type]
    assert tracker.get(run.id).status == status


def test_no_run_ends_before_it_began(tracker: Tracker) -> None:
    told = start(tracker, "told")
    told.end("FINISHED", NOON - timedelta(days=1))
    later = tracker.start(RunStart(name="later", role="trial", started=datetime.now(UTC) + timedelta(days=1)))
    later.end("FINISHED")  # as if the clock had been set back meanwhile
    for run in (told, later):
        record = tracker.get(run.id)
        assert record.ended is not None
        assert record.seconds is not None
        assert 0 <= record.seconds < 60


def test_an_ended_run_can_still_be_described(tracker: Tracker) -> None:
    run = start(tracker, "r")
    run.end("FINISHED")
    run.describe("**text**")
    run.log(metrics=[Metric("late", 1.0)])
    record = tracker.get(run.id)
    assert (record.name, record.status, record.metrics) == ("r", "FINISHED", {"late": 1.0})


def test_texts_and_figures_are_taken(tracker: Tracker) -> None:
    run = start(tracker, "r")
    run.text("folder/table.md", "| a |\n")
    figure = Figure()
    figure.subplots().plot([1, 2])
    run.figure("picture.png", figure)


def test_runs_are_found_by_role_and_tags_newest_first(tracker: Tracker) -> None:
    for minute, name in ((1, "a"), (2, "b"), (3, "c")):
        start(tracker, name, minute=minute, study="s", trial=name)
    start(tracker, "other study", minute=4, study="t", trial="a")
    tracker.start(RunStart(name="other role", role="search", tags={"study": "s"}))
    assert names(tracker.find("trial", study="s")) == ["c", "b", "a"]
    assert names(tracker.find("trial")) == ["other study", "c", "b", "a"]
    assert names(tracker.find("trial", study="s", trial="b")) == ["b"]
    assert names(tracker.find("trial", experiment="", study="s", trial="b")) == ["b"]
    assert tracker.find("evaluate") == []
    assert tracker.find("trial", study="s", trial="none") == []


def test_newest_is_the_one_that_began_last(tracker: Tracker) -> None:
    for minute, name in ((3, "late"), (1, "early"), (2, "middle")):
        start(tracker, name, minute=minute)
    assert names(tracker.find("trial")) == ["late", "middle", "early"]


@pytest.mark.parametrize("value", ["it's", 'say "x"', "'\"", "100 %", "back\\slash", "a`b", "ü · ≤", "a = 'b' and c"])
def test_tags_of_any_text_are_found(tracker: Tracker, value: str) -> None:
    start(tracker, "wanted", minute=1, study=value)
    start(tracker, "other", minute=2, study="other")
    assert names(tracker.find("trial", study=value)) == ["wanted"]


def test_a_tag_is_found_as_a_whole(tracker: Tracker) -> None:
    start(tracker, "r", study="a%c")
    start(tracker, "long", study="abc")
    assert names(tracker.find("trial", study="a%c")) == ["r"]


@pytest.fixture
def various(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """Four runs that began one after the other, of which a store gives two at a time."""
    monkeypatch.setattr(mlflow_tracker, "PAGE", 2)
    for minute, (name, role, status, error) in enumerate(
        [
            ("a", "search", "FINISHED", 0.3),
            ("b", "trial", "FAILED", None),
            ("c", "trial", "FINISHED", 0.1),
            ("d", "evaluate", "KILLED", 0.2),
        ]
    ):
        run = tracker.start(RunStart(name=name, role=role, started=NOON + timedelta(minutes=minute)))
        run.log(
            metrics=[] if error is None else [Metric("error", error)],
            tags={"projected": "true"} if error == 0.1 else {},
        )
        run.end(status)  # type: ignore[arg-type]
    return tracker


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (RunQuery(), "dcba"),
        (RunQuery(reverse=True), "abcd"),
        (RunQuery(limit=2), "dc"),
        (RunQuery(role="trial"), "cb"),
        (RunQuery(other_than=("trial", "cell")), "da"),
        (RunQuery(status="FINISHED"), "ca"),
        (RunQuery(lacking="projected"), "dba"),
        (RunQuery(tags={"projected": "true"}), "c"),
        (RunQuery(metric="error"), "cda"),
        (RunQuery(metric="error", reverse=True), "adc"),
        (RunQuery(metric="error", other_than=("trial",), limit=1), "d"),
        (RunQuery(metric="accuracy"), ""),
        (RunQuery(metric="`"), ""),
        (RunQuery(metric='"'), ""),
        (RunQuery(role="trial", status="RUNNING"), ""),
    ],
)
def test_a_query_says_which_runs_and_in_which_order(various: Tracker, query: RunQuery, expected: str) -> None:
    assert "".join(names(list(various.search(query)))) == expected


def test_the_runs_that_are_there_are_known_by_id(tracker: Tracker) -> None:
    assert tracker.has(start(tracker, "r").id)
    assert not tracker.has("0" * 32)


def test_an_unknown_experiment_is_refused(tracker: Tracker) -> None:
    with pytest.raises(InputError, match="unknown experiment 'Defualt'"):
        tracker.find("trial", experiment="Defualt")


def test_an_unknown_run_is_refused(tracker: Tracker) -> None:
    with pytest.raises(InputError, match=r"there is no run 'nothing'"):
        tracker.get("nothing")


def test_a_history_is_in_the_order_of_its_steps(tracker: Tracker) -> None:
    run = start(tracker, "r")
    run.log(metrics=curve("error", [0.5, 0.4, 0.3]), at=NOON)
    run.log(metrics=[Metric("error", 0.1, 5), Metric("error", 0.2, 4), Metric("loss", 9.0, 1)], at=NOON)
    assert tracker.history(run.id, "error") == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert tracker.history(run.id, "none") == []
    assert tracker.get(run.id).metrics["error"] == 0.1


def test_the_same_batch_at_the_same_time_stands_once(tracker: Tracker) -> None:
    run = start(tracker, "r")
    for _ in range(2):
        run.log(params={"lr": 0.1}, metrics=curve("error", [0.5, 0.4]), tags={"state": "complete"}, at=NOON)
    assert tracker.history(run.id, "error") == [0.5, 0.4]


def test_a_reopened_run_goes_on_where_it_was(tracker: Tracker) -> None:
    first, second = start(tracker, "first"), start(tracker, "second")
    child = start(tracker, "child", parent=first, study="s")
    child.log(params={"lr": 0.1}, metrics=[Metric("error", 0.5, 1)])
    reopened = tracker.reopen(tracker.get(child.id), second)
    assert reopened.id == child.id
    reopened.log(params={"epochs": 2}, metrics=[Metric("error", 0.4, 2)])
    reopened.end("FINISHED")
    record = tracker.get(child.id)
    assert (record.params, record.status) == ({"lr": "0.1", "epochs": "2"}, "FINISHED")
    assert tracker.history(child.id, "error") == [0.5, 0.4]


SPLITS = [
    Splits(
        name="synthetic",
        source="made up",
        options={"pooling": "average"},
        train=make_digits(20, "a"),
        test=make_digits(10, "b"),
    ),
    Splits(name="plane", source="made up", train=make_points(20, "a"), test=make_points(10, "b")),
]


@pytest.mark.parametrize("splits", SPLITS, ids=lambda splits: splits.name)
def test_data_is_known_by_name_and_digest(tracker: Tracker, splits: Splits) -> None:
    run = tracker.start(RunStart(name="r", role="evaluate", data=splits, test_data=True))
    tags = tracker.get(run.id).tags
    assert (tags["dataset"], tags["dataset_digest"]) == (splits.name, splits.digest)


def test_a_configuration_is_read_back(tracker: Tracker) -> None:
    hyper = Hyperparameters(lr=0.1 + 0.2, batch_size=7, epochs=3, alpha=1e-9)
    run = tracker.start(RunStart(name="r", role="trial", tags=config_tags(hyper)))
    assert tracker.get(run.id).config == hyper
    assert tracker.find("trial", config_hash=hyper.hash)[0].config == hyper
    assert tracker.get(start(tracker, "none").id).config is None


def test_the_structure_of_a_configuration_is_read_back_with_its_types(tracker: Tracker) -> None:
    presets = [variant.preset for variant in variants().values()]
    both = get_variant("mlp").preset.replaced({"batch_norm": True, "dropout": 0.1 + 0.2})
    for hyper in (*presets, both):
        run = tracker.start(RunStart(name="r", role="trial", tags=config_tags(hyper)))
        read = tracker.get(run.id).config
        assert read is not None
        assert read == hyper
        assert read.hash == hyper.hash
        assert [type(value) for _, value in read.structure] == [type(value) for _, value in hyper.structure]


def test_a_stage_that_ends_well_is_finished(tracker: Tracker) -> None:
    with stage_run(tracker, RunStart(name="r", role="evaluate")) as run:
        assert tracker.get(run.id).status == "RUNNING"
    record = tracker.get(run.id)
    assert record.status == "FINISHED"
    assert "error" not in record.tags


def test_a_stage_that_raises_has_failed_with_its_error(tracker: Tracker) -> None:
    with (
        pytest.raises(ZeroDivisionError, match="by hand"),
        stage_run(tracker, RunStart(name="r", role="evaluate")) as run,
    ):
        raise ZeroDivisionError("by hand")
    record = tracker.get(run.id)
    assert (record.status, record.tags["error"]) == ("FAILED", "ZeroDivisionError: by hand")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stage_that_a_person_stops_is_killed(tracker: Tracker, stop: type[BaseException]) -> None:
    with pytest.raises(stop), stage_run(tracker, RunStart(name="r", role="evaluate")) as run:
        raise stop
    record = tracker.get(run.id)
    assert record.status == "KILLED"
    assert "error" not in record.tags


def test_a_living_process_leaves_nothing_to_repair(tracker: Tracker) -> None:
    run = start(tracker, "r")
    assert tracker.repair() == 0
    assert tracker.get(run.id).status == "RUNNING"


def test_curves_count_epochs_from_1() -> None:
    assert curve("error", [0.5, 0.25]) == [Metric("error", 0.5, 1), Metric("error", 0.25, 2)]
    assert math.isnan(curve("loss", [float("nan")])[0].value)


def test_runs_that_are_left_open_are_killed_when_the_tracker_is_closed(tracker: Tracker) -> None:
    def stopped() -> None:
        start(tracker, "ended").end("FINISHED")
        start(tracker, "left")
        raise SystemExit(143)

    with pytest.raises(SystemExit), tracker:
        stopped()
    assert {run.name: run.status for run in tracker.find("trial")} == {"ended": "FINISHED", "left": "KILLED"}
