"""The runs of trials: open while they train, and as easy to find from the study as the study is from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import optuna
import pytest

from pipeline.stages import search
from pipeline.stages.searching import trial_runs
from pipeline.stages.searching.config import SearchConfig
from pipeline.tracking.port import RunQuery, RunRecord, RunStart
from tests.memory import MemoryTracker
from tests.stages.runs import Make, config_of, runs_with, searched, table_of, trials_of
from tests.stages.silent import Silent

SPACE = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nepochs: {type: choice, values: [2], default: 2}\n"
ADDRESS = "http://127.0.0.1:8080/dashboard/studies"


@pytest.fixture(scope="module")
def config(make: Make) -> SearchConfig:
    return make(SPACE, n_trials=4, population=2)


@pytest.fixture(scope="module")
def whole(config: SearchConfig) -> MemoryTracker:
    tracker, _ = searched(config)
    return tracker


def study_of(config: SearchConfig) -> optuna.Study:
    """The only study of a database."""
    [name] = optuna.get_all_study_names(config.storage)
    return optuna.load_study(study_name=name, storage=config.storage)


def test_run_and_trial_name_each_other(config: SearchConfig, whole: MemoryTracker) -> None:
    study = study_of(config)
    [stage] = runs_with(whole, "search")
    assert stage.tags["dashboard"] == f"{ADDRESS}/{study._study_id}"
    for trial, run in zip(study.trials, trials_of(whole), strict=True):
        assert run.tags["dashboard"] == f"{stage.tags['dashboard']}/trials?numbers={trial.number}"
        assert run.tags["dashboard"] in run.description
        assert trial.user_attrs["mlflow_run"] == whole.link(run.id)


def test_a_run_is_named_after_what_its_trial_gave(whole: MemoryTracker) -> None:
    names = [run.name for run in trials_of(whole)]
    errors = [run.metrics["cv_validation_error", 0] for run in trials_of(whole)]
    assert names == [f"trial {number:03d} · err {100 * error:.1f} %" for number, error in enumerate(errors)]


def test_the_files_of_a_study_are_kept_in_the_folder_of_artifacts(config: SearchConfig, whole: MemoryTracker) -> None:
    kept = [path.read_bytes() for path in Path(config.artifacts).iterdir()]
    tables = [content.decode() for content in kept if not content.startswith(b"\x89PNG")]
    assert len(kept) == 1 + len(tables) == 1 + len(trials_of(whole))
    assert all(table.startswith("epoch,train_loss,") and len(table.splitlines()) == 3 for table in tables)


class Interrupting(Silent):
    """A person who stops a search while its second batch trains."""

    def __init__(self, tracker: MemoryTracker) -> None:
        self.tracker = tracker
        self.seen: list[str] = []

    def update(self, done: float, note: str = "") -> None:
        """Look at the runs of trials that are open."""
        self.seen = [run.id for run in trials_of(self.tracker) if run.status == "RUNNING"]
        if self.seen and trials_of(self.tracker)[0].status == "FINISHED":
            raise KeyboardInterrupt


def test_runs_are_open_while_trials_train_and_an_interrupted_search_completes_them_later(
    make: Make, whole: MemoryTracker
) -> None:
    config = make(SPACE, n_trials=4, population=2)
    tracker = MemoryTracker()
    person = Interrupting(tracker)
    with pytest.raises(KeyboardInterrupt), tracker:
        search.run(config, tracker, person)
    assert [run.status for run in trials_of(tracker)] == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    assert [run.id for run in trials_of(tracker)[2:]] == person.seen
    assert all(run.description == "" for run in trials_of(tracker)[2:])
    [stopped] = runs_with(tracker, "search")
    assert stopped.status == "KILLED"

    _, run = searched(config, tracker)
    assert [trial.id for trial in trials_of(tracker)[2:]] == person.seen
    assert {trial.status for trial in trials_of(tracker)} == {"FINISHED"}
    assert [trial.parent for trial in trials_of(tracker)] == [stopped.id] * 2 + [run.id] * 2
    assert run.tags["continues"] == stopped.id
    assert tracker.reference(stopped.id) in run.description
    assert table_of(tracker) == table_of(whole)


def test_the_run_of_a_trial_that_somebody_has_enqueued_says_so(make: Make) -> None:
    config = make(SPACE, n_trials=1, population=1)
    searched(config)
    study_of(config).enqueue_trial({"lr": 5e-3})
    tracker, _ = searched(replace(config, n_trials=2))
    run = trials_of(tracker)[1]
    assert config_of(run).lr == 5e-3
    assert "(lr enqueued by hand, the rest proposed by tpe)" in run.description


def test_status_and_times_of_a_run_are_those_of_its_trial_however_it_ended(make: Make) -> None:
    config = make(
        "lr: {type: choice, values: [0.0001, 0.01, 50], default: 0.01}\n"
        "optimiser: {type: choice, values: [sgd], default: sgd}\n"
        "epochs: {type: choice, values: [12], default: 12}\n",
        n_trials=12,
        population=4,
        sampler="random",
        reuse="none",
    )
    tracker, _ = searched(config)
    trials = study_of(config).trials
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED", "FAIL"}
    for trial, run in zip(trials, trials_of(tracker), strict=True):
        assert run.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[trial.state.name]
        for moment, of_trial in ((run.started, trial.datetime_start), (run.ended, trial.datetime_complete)):
            assert moment is not None
            assert of_trial is not None
            assert abs(moment - of_trial.astimezone(UTC)) < timedelta(seconds=1)


class Counting(MemoryTracker):
    """Counts the trials' runs that it is asked to read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def search(self, query: RunQuery) -> Iterator[RunRecord]:
        for record in super().search(query):
            self.read += record.tags["role"] == "trial"
            yield record


def test_a_start_reads_no_more_runs_the_more_trials_there_are(make: Make) -> None:
    config, tracker = make(SPACE, n_trials=2, population=2, recheck=0), Counting()
    read = []
    for n_trials in (2, 2, 4, 8, 8):
        tracker.read = 0
        searched(replace(config, n_trials=n_trials), tracker)
        read.append(tracker.read)
    assert read == [1] * 5  # that of the best trial, which the search names


@pytest.mark.parametrize("many", [0, 50], ids=["all are read", "each is looked for"])
@pytest.mark.parametrize("kept", ["nothing, as by older versions", "what was complete some trials ago"])
def test_the_runs_of_earlier_starts_are_found_whatever_the_study_has_kept_of_them(
    make: Make, kept: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runs, "MANY", many)
    config = make(SPACE, n_trials=4, population=2)
    tracker, run = searched(config)
    before = [trial.id for trial in trials_of(tracker)]
    study = study_of(config)
    assert study.user_attrs["mlflow_runs"] == {"search": run.id, "trials": [[0, 3]]}
    if kept.startswith("nothing"):
        study._storage.set_study_user_attr(study._study_id, "mlflow_runs", None)
    else:
        study.set_user_attr("mlflow_runs", {"search": run.id, "trials": [[0, 0], [2, 2]]})
    searched(config, tracker)
    assert [trial.id for trial in trials_of(tracker)] == before
    assert study_of(config).user_attrs["mlflow_runs"]["trials"] == [[0, 3]]


@pytest.mark.parametrize("many", [0, 50], ids=["all are read", "each is looked for"])
def test_of_two_complete_runs_of_a_trial_the_first_stays(
    make: Make, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runs, "MANY", many)
    config = make(SPACE, n_trials=2, population=2)
    tracker, run = searched(config)
    before = [trial.id for trial in trials_of(tracker)]
    study_of(config).set_user_attr("mlflow_runs", {"search": run.id, "trials": [[0, 0]]})
    twice = trials_of(tracker)[1]
    tracker.start(RunStart(name=twice.name, role="trial", tags=twice.tags), run).end("FINISHED")
    searched(config, tracker)
    assert [trial.id for trial in trials_of(tracker)] == before
