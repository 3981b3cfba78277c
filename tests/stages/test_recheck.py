"""The best of a search are tried again on fresh samples, and the best of these is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.stages.replicas import fold_replicas
from pipeline.stages.searching.config import SearchConfig, inputs
from pipeline.stages.searching.recheck import recheck_jobs
from pipeline.tuning.ledger import finished_trials
from pipeline.tuning.storage import open_storage
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import Make, rows_of, search_with_deaths, searched, table_of, trained_in, trials_of

SPACE = """
lr: {type: float, low: 1e-5, high: 1e-2, log: true, default: 1e-5}
epochs: {type: choice, values: [3, 4], default: 3}
"""
"""What is tried first is not good."""
AGAIN = 3
Searched = tuple[MemoryTracker, MemoryRun]


@pytest.fixture(scope="module")
def config(make: Make) -> SearchConfig:
    return make(SPACE, sampler="random", n_trials=9, recheck=AGAIN)


@pytest.fixture(scope="module")
def whole(config: SearchConfig) -> Searched:
    return searched(config)


def rechecked_of(tracker: MemoryTracker) -> dict[int, float]:
    """Trial -> what it gave when it was tried again."""
    found = {int(run.tags["trial"]): run.metrics.get(("cv_recheck", 0)) for run in trials_of(tracker)}
    return {number: error for number, error in found.items() if error is not None}


def ranked(tracker: MemoryTracker) -> list[int]:
    """All trials, the best first."""
    errors = [run.metrics["cv_validation_error", 0] for run in trials_of(tracker)]
    return sorted(range(len(errors)), key=lambda number: (errors[number], number))


def again(run: MemoryRun) -> list[str]:
    """The trainings of a recheck."""
    return [name for name in trained_in(run) if not name.startswith("trial/")]


def names_of(numbers: Any) -> list[str]:
    """How the trainings of a recheck of these trials are called."""
    return sorted(f"recheck/{number}/round/1000000/fold/{fold}" for number in numbers for fold in (0, 1))


def test_the_best_are_tried_again_in_a_round_of_their_own(whole: Searched) -> None:
    tracker, run = whole
    best = ranked(tracker)[:AGAIN]
    assert rechecked_of(tracker).keys() == set(best)
    assert again(run) == names_of(best)
    assert 0 not in best


def test_no_trial_has_had_the_folds_of_a_recheck(config: SearchConfig, whole: Searched) -> None:
    subject, space = inputs(config)
    variant, splits = subject.variant, subject.splits
    records = finished_trials(open_storage(config.storage), config.study_name(space, variant, splits))
    tried = fold_replicas(splits, config.sampling, variant.preset, rounds=1, folds=2)
    for job, record in zip(recheck_jobs(config, variant, splits, records), records, strict=True):
        assert {replica.hyper for replica in job.replicas} == {record.hyper}
        for replica in job.replicas:
            assert len(replica.train) == len(replica.held_out) == 30
            for other in tried:
                assert not np.array_equal(np.sort(replica.train, axis=0), np.sort(other.train, axis=0))
                assert not np.array_equal(np.sort(replica.held_out, axis=0), np.sort(other.held_out, axis=0))


def test_the_best_of_the_recheck_is_chosen(whole: Searched) -> None:
    tracker, run = whole
    found = rechecked_of(tracker)
    trials = trials_of(tracker)
    order = ranked(tracker)
    chosen = min(found, key=lambda number: (found[number], order.index(number)))
    assert run.tags["best_trial"] == str(chosen)
    assert run.tags["config"] == trials[chosen].tags["config"]
    assert run.metrics["cv_recheck", 0] == found[chosen]
    assert run.metrics["cv_best", 0] == trials[chosen].metrics["cv_validation_error", 0]
    shown = {int(row["trial"]): row["on fresh folds"] for row in rows_of(run)}
    assert shown == {number: f"{100 * found[number]:.2f} %" if number in found else "-" for number in range(9)}


def test_a_recheck_counts_as_work_of_the_study(config: SearchConfig, whole: Searched) -> None:
    tracker, run = whole
    trained = [2 * int(trial.params["epochs"]) for trial in trials_of(tracker) if "source" not in trial.tags]
    more = [2 * int(trials_of(tracker)[number].params["epochs"]) for number in rechecked_of(tracker)]
    assert run.metrics["replica_epochs", 0] == sum(trained) + sum(more)


def test_started_again_it_trains_nothing_and_chooses_the_same(config: SearchConfig, whole: Searched) -> None:
    tracker, run = whole
    other, resumed = searched(config)
    assert trained_in(resumed) == []
    assert resumed.tags["best_trial"] == run.tags["best_trial"]
    for name in ("cv_best", "cv_recheck", "replica_epochs"):
        assert resumed.metrics[name, 0] == run.metrics[name, 0]
    assert table_of(other) == table_of(tracker)


def test_when_other_trials_become_the_best_they_are_tried_again_instead(make: Make) -> None:
    config = make(SPACE, sampler="random", n_trials=1, recheck=1)
    tracker, first = searched(config)
    assert again(first) == names_of([0])
    assert first.tags["best_trial"] == "0"
    tracker, second = searched(replace(config, n_trials=9), tracker)
    best = ranked(tracker)[0]
    assert best != 0
    assert again(second) == names_of([best])
    assert second.tags["best_trial"] == str(best)


def test_there_may_be_fewer_trials_than_are_to_be_tried_again_and_none_may_be(make: Make) -> None:
    config = make(SPACE, sampler="random", n_trials=2, recheck=5)
    tracker, run = searched(config)
    assert rechecked_of(tracker).keys() == {0, 1}
    assert any("The best 2 were tried again" in line for line in run.description.splitlines())
    tracker, run = searched(replace(config, recheck=0))
    assert rechecked_of(tracker) == {}
    assert run.tags["best_trial"] == str(ranked(tracker)[0])
    assert ("cv_recheck", 0) not in run.metrics
    assert "on fresh folds" not in rows_of(run)[0]


def test_a_search_that_died_before_and_after_its_recheck_was_kept_ends_as_one_that_ran_through(
    config: SearchConfig, whole: Searched, make: Make
) -> None:
    tracker, _ = whole
    mortal = make(SPACE, sampler="random", n_trials=9)
    searched(mortal)
    # It is kept in the 56th transaction of those that are left.
    resumed = search_with_deaths(replace(mortal, recheck=AGAIN), after=(45, 55, 58))
    assert table_of(resumed) == table_of(tracker)
    assert rechecked_of(resumed) == rechecked_of(tracker)
