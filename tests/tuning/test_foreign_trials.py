"""Trials that people add to a study: what fits is tried, what does not is refused by name, and the search goes on."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pipeline.tuning.constraints import Constraint
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.trial_samplers import Grid, Sampled
from pipeline.tuning.trials import TrialRecord
from tests.tuning.results import grid_space, space
from tests.tuning.searches import (
    BY_TPE,
    POPULATION,
    Death,
    Search,
    die_before_transaction,
    finish,
    open_ledger,
    study_at,
)

MORE = Sampled(POPULATION + 2)
GIVEN = {"lr": 2e-3, "batch_size": 50}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, empty_studies: Path) -> Search:
    """A search of one batch."""
    plan = replace(BY_TPE, trial_sampler=Sampled(POPULATION))
    return Search(plan, tmp_path_factory.mktemp("first"), empty_studies)


@pytest.fixture
def begun(path: Path, first: Search) -> Path:
    """A study that has had its first batch."""
    shutil.copy(first.copies[-1], path)
    return path


def tried(records: list[TrialRecord], number: int) -> dict[str, Any]:
    [record] = [record for record in records if record.number == number]
    return record.hyper.as_dict()


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_what_somebody_enqueues_is_tried_with_what_the_sampler_adds(begun: Path, sampler: str) -> None:
    begun.unlink()
    ledger = open_ledger(begun, sampler=sampler, trial_sampler=Sampled(POPULATION))
    finish(ledger)
    study_at(begun).enqueue_trial(GIVEN, user_attrs={"by": "me"})
    finish(open_ledger(begun, sampler=sampler, trial_sampler=MORE))
    records = open_ledger(begun, sampler=sampler, trial_sampler=MORE).records()
    assert [record.number for record in records] == list(range(MORE.n_trials))
    assert tried(records, POPULATION).items() >= GIVEN.items()
    assert [record.number for record in records if record.enqueued] == [POPULATION]
    assert records[POPULATION].enqueued == GIVEN
    trial = study_at(begun).trials[POPULATION]
    assert trial.params.keys() == space().dimensions.keys()
    assert trial.user_attrs.items() >= {"by": "me", "config_hash": records[POPULATION].hyper.hash}.items()


def test_a_search_with_an_enqueued_trial_that_dies_while_it_is_taken_up_ends_as_one_that_ran_through(
    begun: Path, tmp_path: Path
) -> None:
    again = Path(shutil.copy(begun, tmp_path / "again.db"))
    for each in (begun, again):
        study_at(each).enqueue_trial(GIVEN)
    whole = finish(open_ledger(begun, trial_sampler=MORE))
    deaths = 0
    for transactions in itertools.count():
        ledger = open_ledger(again, trial_sampler=MORE)
        die_before_transaction(ledger, transactions)
        try:
            ledger.next_batch()
            break
        except Death:
            deaths += 1
    assert deaths > 5
    assert finish(open_ledger(again, trial_sampler=MORE)) == whole


def test_what_does_not_fit_is_refused_and_the_search_goes_on(begun: Path, caplog: pytest.LogCaptureFixture) -> None:
    unfit: list[tuple[dict[str, Any], str]] = [
        ({"lr": 7.0}, "lr is 7.0, which the space does not have"),
        ({"lr": None}, "lr is None"),
        ({"lr": "fast"}, "lr is 'fast'"),
        ({"learning_rate": 1e-3}, "'learning_rate' is not searched"),
    ]
    for enqueued, _ in unfit:
        study_at(begun).enqueue_trial(enqueued)
    records = finish(open_ledger(begun, trial_sampler=MORE))
    assert len(records) == MORE.n_trials  # those that were refused are not among them
    for number, (_, reason) in enumerate(unfit, start=POPULATION):
        assert f"trial {number} of study study was added by hand and is marked as failed: {reason}" in caplog.text
        refused = study_at(begun).trials[number]
        assert refused.state is TrialState.FAIL
        assert refused.user_attrs["reason"].startswith(reason)
    assert open_ledger(begun, trial_sampler=MORE).next_batch() == []


def test_what_the_constraints_of_the_space_rule_out_is_refused(path: Path) -> None:
    few = replace(grid_space(), constraints=(Constraint("lr * batch_size < 0.15"),))
    ledger = open_ledger(path, space=few, trial_sampler=Sampled(3))
    finish(ledger)
    study_at(path).enqueue_trial({"lr": 2e-3, "batch_size": 100})
    assert len(finish(open_ledger(path, space=few, trial_sampler=Sampled(4)))) == 4
    assert "lr" in study_at(path).trials[3].user_attrs["reason"]


def complete(study: optuna.Study) -> None:
    study.add_trial(
        create_trial(value=0.01, params={"x": 1.0}, distributions={"x": optuna.distributions.FloatDistribution(0, 2)})
    )


def failed(study: optuna.Study) -> None:
    study.add_trial(create_trial(state=TrialState.FAIL))


def running(study: optuna.Study) -> None:
    study.ask()


@pytest.mark.parametrize("add", [complete, failed, running])
def test_what_another_program_adds_is_left_out_by_name(
    begun: Path, caplog: pytest.LogCaptureFixture, add: Callable[[optuna.Study], None]
) -> None:
    add(study_at(begun))
    records = finish(open_ledger(begun, trial_sampler=MORE))
    assert len(records) == MORE.n_trials
    assert f"trial {POPULATION} of study study was added by hand" in caplog.text
    numbers = [record.number for record in open_ledger(begun).records()]
    assert numbers == [number for number in range(MORE.n_trials + 1) if number != POPULATION]


def test_all_combinations_are_all_combinations(path: Path) -> None:
    plan: dict[str, Any] = {"space": grid_space(), "trial_sampler": Grid(), "sampler": "grid"}
    ledger = open_ledger(path, **plan)
    study_at(path).enqueue_trial({"lr": 1e-3})
    finish(ledger)
    combinations = [(record.hyper.lr, record.hyper.batch_size) for record in ledger.records()]
    assert {*combinations} == {(lr, size) for lr in (5e-4, 1e-3, 2e-3) for size in (25, 100)}
    assert study_at(path).trials[0].state is TrialState.FAIL


def test_a_trial_that_is_added_while_a_batch_is_asked_for_takes_its_number(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(begun)
    add = Ledger._add

    def meanwhile(self: Ledger, number: int, trial: optuna.trial.FrozenTrial) -> None:
        if number == POPULATION + 1 and len(study_at(begun).trials) == number:
            study_at(begun).enqueue_trial(GIVEN)
        add(self, number, trial)

    monkeypatch.setattr(Ledger, "_add", meanwhile)
    asked = ledger.next_batch()
    assert [trial.number for trial in asked] == list(range(POPULATION, 2 * POPULATION))
    assert [trial.number for trial in asked if trial.enqueued] == [POPULATION + 1]
