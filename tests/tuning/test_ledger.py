from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import sqlite3
import statistics
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.registry import get_variant
from pipeline.training.machine import UNKNOWN
from pipeline.tuning.ledger import finished_trials
from pipeline.tuning.pruning import STARTUP_TRIALS, MedianRule
from pipeline.tuning.records import BEGUN, STATES, finished_since
from pipeline.tuning.storage import open_storage
from pipeline.tuning.trial_samplers import Sampled
from pipeline.tuning.trials import PlannedTrial, Recheck, State, TrialResult, best_of, selection_score
from tests.tuning.results import TRIALS, grid_space, record, result, space
from tests.tuning.searches import (
    BY_TPE,
    POPULATION,
    Search,
    finish,
    lives,
    one_at_a_time,
    open_ledger,
    steps,
    study_at,
    table,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_studies: Path) -> Search:
    return Search(BY_TPE, tmp_path_factory.mktemp("whole"), empty_studies)


def proposed(asked: list[PlannedTrial]) -> list[tuple[int, Hyperparameters]]:
    return [(trial.number, trial.hyper) for trial in asked]


def test_batches_have_the_stated_sizes_and_end_with_the_total(whole: Search) -> None:
    assert [[trial.number for trial in asked] for asked in whole.asked] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [12, 13, 14],
    ]


def test_the_first_trial_is_the_preset_and_the_others_differ(whole: Search) -> None:
    configurations = [trial.hyper for asked in whole.asked for trial in asked]
    assert configurations[0] == get_variant("mlp_al").preset
    assert len(set(configurations)) == TRIALS


def test_the_example_holds_every_kind_of_trial(whole: Search) -> None:
    assert {row.state for row in whole.table} == {"complete", "pruned", "failed"}


def test_every_configuration_lies_in_the_space(whole: Search) -> None:
    for asked in whole.asked:
        for trial in asked:
            values = trial.hyper.as_dict()
            assert all(values[name] in dimension for name, dimension in space().dimensions.items())


def test_the_number_of_trials_is_a_total(path: Path) -> None:
    ledger = open_ledger(path, trial_sampler=Sampled(1))
    assert sum(map(len, steps(ledger))) == 1
    assert list(steps(ledger)) == []
    assert sum(map(len, steps(open_ledger(path, trial_sampler=Sampled(3))))) == 2
    assert [record.number for record in open_ledger(path).records()] == [0, 1, 2]
    assert open_ledger(path, trial_sampler=Sampled(3)).next_batch() == []


def test_a_search_that_was_made_shorter_leaves_alone_what_was_running_beyond_its_end(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[1], path)  # trial 0 is told, and 1 to 3 are running
    shorter = open_ledger(path, trial_sampler=Sampled(3))
    assert proposed(shorter.next_batch()) == proposed(whole.asked[0][1:3])
    assert finish(shorter) == whole.table[:3]
    assert open_ledger(path, trial_sampler=Sampled(2)).next_batch() == []
    assert finish(open_ledger(path)) == whole.table


def test_a_search_asks_again_for_what_was_not_told(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[1], path)  # trial 0 is told
    first = proposed(open_ledger(path).next_batch())
    assert len(first) == POPULATION
    assert proposed(open_ledger(path).next_batch()) == first


def test_a_search_opened_anew_after_every_step_gives_the_same(path: Path, whole: Search) -> None:
    assert one_at_a_time(whole.plan, path) == whole.table


@pytest.mark.parametrize("step", range(0, TRIALS + 4, 3))
def test_a_search_that_died_after_any_step_ends_as_one_that_ran_through(path: Path, whole: Search, step: int) -> None:
    shutil.copy(whole.copies[step], path)
    assert finish(open_ledger(path)) == whole.table


@pytest.mark.parametrize("seed", range(2))
def test_a_search_that_died_between_any_two_transactions_ends_as_one_that_ran_through(
    path: Path, whole: Search, seed: int
) -> None:
    assert sum(lives(whole.plan, path, seed)) > 4
    assert table(open_ledger(path)) == whole.table


def test_an_interrupted_batch_is_asked_for_as_a_whole(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[2], path)  # trials 0 and 1 are told
    asked = open_ledger(path).next_batch()
    assert [(trial.number, trial.is_recorded) for trial in asked] == [(0, True), (1, True), (2, False), (3, False)]
    assert proposed(asked) == proposed(whole.asked[0])
    assert {trial.batch for trial in asked} == {(0, 4)}


def test_what_was_told_of_a_search_that_was_shorter_is_not_asked_for(path: Path, whole: Search) -> None:
    finish(open_ledger(path, trial_sampler=Sampled(6)))
    for _ in range(2):
        ledger = open_ledger(path)
        asked = ledger.next_batch()
        assert proposed(asked) == proposed(whole.asked[1][2:])
    BY_TPE.tell(ledger, asked[0])
    assert [(trial.number, trial.is_recorded) for trial in open_ledger(path).next_batch()] == [(6, True), (7, False)]
    assert [row.hyper for row in finish(open_ledger(path))] == [row.hyper for row in whole.table]


def begun(params: dict[str, Any]) -> FrozenTrial:
    """A trial as a version would have begun it that proposes something else."""
    known = {**space().preset_parameters, **params}
    config = space().hyper(known).as_dict()
    return create_trial(
        state=TrialState.RUNNING,
        params=known,
        distributions=space().distributions(known),
        system_attrs={BEGUN: {"pairs": 0, "draw": 0, "generation": [0, 4], "config": config}},
    )


def test_a_study_whose_proposals_differ_is_refused(path: Path) -> None:
    open_ledger(path)
    study_at(path).add_trial(begun({"lr": 2e-3}))
    with pytest.raises(
        InputError, match=r"goes on with the proposals .*trial 0 of 'study' was .*; choose another --st"
    ):
        open_ledger(path).next_batch()


def test_a_study_of_which_another_seed_proposes_others_is_refused(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[2], path)
    with pytest.raises(InputError, match=r"but trial 1 of 'study' was .*'lr': .*, and this version proposes .*'lr'"):
        open_ledger(path, seed=4).next_batch()


@pytest.mark.parametrize(
    ("protocol", "difference"),
    [
        ({"seed": 1, "pairs": 100}, "seed was 0 and is now 1"),
        ({"seed": 0, "pairs": 50}, "pairs was 100 and is now 50"),
        ({"seed": 0}, "pairs was 100 and is now None"),
        ({"seed": 0, "pairs": 100, "folds": 5}, "folds was None and is now 5"),
        ({"seed": 1, "pairs": 50}, "pairs was 100 and is now 50; seed was 0 and is now 1"),
    ],
)
def test_another_protocol_is_refused_with_its_differences(
    path: Path, protocol: dict[str, Any], difference: str
) -> None:
    open_ledger(path, {"seed": 0, "pairs": 100})
    open_ledger(path, {"pairs": 100, "seed": 0})
    with pytest.raises(InputError, match=rf"'study' {difference}; choose another --study$"):
        open_ledger(path, protocol)


def test_a_study_that_died_before_it_had_a_protocol_takes_the_present_one(path: Path) -> None:
    optuna.create_study(study_name="study", storage=open_storage(f"sqlite:///{path}"))
    open_ledger(path, {"seed": 0})
    with pytest.raises(InputError, match="seed was 0 and is now 1"):
        open_ledger(path, {"seed": 1})


@pytest.mark.parametrize(
    ("state", "reason", "error"),
    [
        ("complete", "", 0.25),
        ("pruned", "worse than the median", None),
        ("failed", "fold 1: the loss became nan", None),
    ],
)
def test_records_keep_what_was_told(path: Path, state: State, reason: str, error: float | None) -> None:
    ledger = open_ledger(path)
    asked, *_ = ledger.next_batch()
    before = datetime.now()
    ledger.tell(
        0,
        TrialResult(
            curves={"validation_error": [1 / 3, 0.25], "train_loss": [2.0000004, 1e-9]},
            fold_errors=[[0.1234567, 0.2], [1.0, 0.3]],
            state=state,
            reason=reason,
        ),
    )
    for records in (ledger.records(), open_ledger(path).records()):
        (record,) = records
        assert (record.number, record.state, record.reason, record.error) == (0, state, reason, error)
        assert record.score == error
        assert record.samples == 0
        assert record.hyper == asked.hyper
        assert record.curves == {"validation_error": [0.333333, 0.25], "train_loss": [2.0, 0.0]}
        assert record.fold_errors == [[0.123457, 0.2], [1.0, 0.3]]
        assert record.started <= before <= record.ended


def test_a_trial_does_not_end_before_it_began(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_batch()
    tomorrow = datetime.now() + timedelta(days=1)
    with contextlib.closing(sqlite3.connect(path)) as database:  # as if the clock had been set back since
        database.execute("UPDATE trials SET datetime_start = ?", (str(tomorrow),))
        database.commit()
    ledger.tell(0, TrialResult(curves={"validation_error": [0.5]}, fold_errors=[[0.5]], state="complete"), seconds=7.0)
    for records in (ledger.records(), open_ledger(path).records()):
        assert [(record.started, record.ended - record.started) for record in records] == [
            (tomorrow, timedelta(seconds=7))
        ]


@pytest.mark.parametrize("source", ["", "read off trial 3 of study other"])
@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_records_keep_where_a_trial_comes_from_and_what_it_took(path: Path, state: State, source: str) -> None:
    ledger = open_ledger(path)
    ledger.next_batch()
    found = TrialResult(
        curves={"validation_error": [0.5]}, fold_errors=[[0.5]], state=state, source=source, replica_epochs=40
    )
    ledger.tell(0, found, seconds=1.23456)
    for records in (ledger.records(), open_ledger(path).records(), [open_ledger(path).record(0)]):
        [kept] = records
        assert (kept.source, kept.replica_epochs, kept.seconds, kept.cost) == (source, 40, 1.235, None)
        assert (kept.draw, kept.batch) == (0, (0, 4))


def test_a_study_of_two_objectives_keeps_both(path: Path) -> None:
    ledger = open_ledger(path, sampler="nsga2", objectives=2, select="mean+std")
    ledger.next_batch()
    found = TrialResult(curves={"validation_error": [0.25]}, fold_errors=[[0.2], [0.3]], state="complete")
    ledger.tell(0, found, cost=123.4)
    [kept] = open_ledger(path, sampler="nsga2", objectives=2).records()
    assert (kept.error, kept.score, kept.cost, kept.values) == (0.25, 0.320711, 123.4, [0.320711, 123.4])
    assert study_at(path).trials[0].values == [0.320711, 123.4]


def test_people_see_what_a_trial_gave(path: Path) -> None:
    ledger = open_ledger(path)
    asked, *_ = ledger.next_batch()
    ledger.attach(0, "mlflow_run", "http://127.0.0.1:5000/run")
    running = study_at(path).trials[0]
    assert running.state is TrialState.RUNNING
    assert running.params == space().preset_parameters
    assert running.user_attrs == {"config_hash": asked.hyper.hash, "mlflow_run": "http://127.0.0.1:5000/run"}
    ledger.tell(
        0,
        TrialResult(
            curves={"validation_error": [0.5, 0.3], "validation_digit_error": [0.2, 0.1]},
            fold_errors=[[0.4, 0.2], [0.6, 0.4]],
            state="pruned",
            reason="worse than the median",
            source="read off trial 3 of study other",
            replica_epochs=4,
        ),
    )
    assert study_at(path).trials[0].user_attrs == {
        **running.user_attrs,
        "validation_error_of_folds": [0.2, 0.4],
        "validation_digit_error": 0.1,
        "reason": "worse than the median",
        "source": "read off trial 3 of study other",
        "replica_epochs": 4,
    }


def test_a_study_remembers_on_what_its_trials_were_computed(path: Path) -> None:
    def machine(name: str) -> dict[str, str]:
        return {**UNKNOWN, "processor": name}

    ledger = open_ledger(path, trial_sampler=Sampled(2))
    assert ledger.machine_of(0) == UNKNOWN
    finish(ledger)  # as by a version that did not note it
    for name, trials in (("first", 2), ("second", 3), ("third", 3), ("second", 4), ("second", 5)):
        ledger = open_ledger(path, trial_sampler=Sampled(trials))
        ledger.note_machine(machine(name))
        finish(ledger)
    again = open_ledger(path)
    found = [again.machine_of(number)["processor"] for number in range(5)]
    assert found == ["unknown", "unknown", "second", "second", "second"]
    assert study_at(path).user_attrs["machines"]["version"] == 1


def test_what_trying_the_best_again_gave_is_kept(path: Path) -> None:
    ledger = open_ledger(path)
    assert ledger.rechecked is None
    ledger.keep_recheck(Recheck(fold_errors={3: [0.5]}, replica_epochs=1, seconds=1.0))
    kept = Recheck(fold_errors={3: [1 / 3, 0.25], 12: []}, replica_epochs=100, seconds=1.23456)
    ledger.keep_recheck(kept)
    for again in (ledger.rechecked, open_ledger(path).rechecked):
        assert again == Recheck(fold_errors={3: [0.333333, 0.25], 12: []}, replica_epochs=100, seconds=1.235)
    assert math.isclose(kept.score(3, "mean"), 7 / 24)
    assert math.isclose(kept.score(3, "mean+std"), 7 / 24 + statistics.stdev([1 / 3, 1 / 4]))
    assert kept.score(12, "mean") == math.inf


def test_only_studies_that_are_measured_alike_are_known(path: Path) -> None:
    protocols = {
        "study": {"pairs": 100, "folds": 5, "n_trials": 9},
        "alike": {"pairs": 100, "folds": 5, "n_trials": 3},
        "other pairs": {"pairs": 50, "folds": 5, "n_trials": 9},
        "no folds": {"pairs": 100, "n_trials": 9},
    }
    plan = replace(BY_TPE, trial_sampler=Sampled(2))
    ledgers = {name: plan.open(path, protocol, name) for name, protocol in protocols.items()}
    for ledger in ledgers.values():
        finish(ledger)
    optuna.create_study(study_name="foreign", storage=open_storage(f"sqlite:///{path}")).add_trial(
        create_trial(value=0.1)
    )
    for _ in range(2):
        known = ledgers["study"].elsewhere(["pairs", "folds"])
        alike = ledgers["alike"].records()
        assert [each.record for each in known] == alike
        assert [each.label for each in known] == [f"trial {record.number} of study alike" for record in alike]
    assert len(ledgers["study"].elsewhere(["pairs"])) == 2 * 2
    assert ledgers["study"].elsewhere(["n_trials", "pairs", "folds"]) == []


def test_what_has_not_been_trained_by_itself_is_not_known_elsewhere(path: Path) -> None:
    plan = replace(BY_TPE, space=grid_space(), trial_sampler=Sampled(9), replicate=True)
    ledger = plan.open(path, name="other")
    for asked in itertools.islice(iter(ledger.next_batch, []), 3):
        for trial in asked:
            found = result(trial)
            if trial.number == 2:
                found = TrialResult(curves={}, fold_errors=[], state="failed", reason="the process died")
            if trial.number == 3:
                found = replace(found, source="read off trial 0")
            if trial.number != 8:  # which goes on
                ledger.tell(trial.number, found)
    others = ledger.records()
    alone = [other.number for other in others if not other.draw and other.number not in (2, 3)]
    assert [known.record.number for known in open_ledger(path).elsewhere([])] == alone
    assert {other.draw for other in others} >= {0, 1}


def test_finished_trials_are_read_without_opening_the_study(path: Path, whole: Search) -> None:
    storage = open_storage(f"sqlite:///{path}")
    assert finished_trials(storage, "study") == []
    assert storage.get_all_studies() == []
    shutil.copy(whole.copies[3], path)  # trials 0 to 2 are told
    again = finished_trials(open_storage(f"sqlite:///{path}"), "study")
    assert again == open_ledger(path).records()
    assert [record.number for record in again] == [0, 1, 2]


def test_a_trial_that_is_read_off_a_record_is_the_same_as_read_off_what_was_found(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_batch()
    curve = [1 / 3, 2 / 7]
    ledger.tell(0, TrialResult(curves={"validation_error": curve}, fold_errors=[curve, curve], state="complete"))
    (record,) = open_ledger(path).records()
    assert record.error == record.curves["validation_error"][-1]
    study = study_at(path)
    assert list(study.trials[0].intermediate_values.values()) == record.curves["validation_error"]


@pytest.mark.parametrize("seen", [[], [0.5, math.nan]], ids=["nothing seen", "ends with nan"])
def test_a_failed_trial_may_have_seen_little(path: Path, seen: list[float]) -> None:
    ledger = open_ledger(path)
    ledger.next_batch()
    ledger.tell(
        0, TrialResult(curves={"validation_error": seen}, fold_errors=[seen], state="failed", reason="diverged")
    )
    (record,) = open_ledger(path).records()
    assert (record.state, record.error, len(record.curves["validation_error"])) == ("failed", None, len(seen))


def test_folds_of_a_failed_trial_may_have_ended_after_different_epochs(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_batch()
    folds = [[0.5], [0.5, 0.4, 0.3]]
    ledger.tell(0, TrialResult(curves={"validation_error": [0.5]}, fold_errors=folds, state="failed", reason="fold 0"))
    (record,) = open_ledger(path).records()
    assert record.fold_errors == folds


def test_the_best_is_the_earliest_complete_trial_with_the_least_error() -> None:
    found = [
        record(0, 0.3),
        record(1, None, state="pruned"),
        record(4, 0.2),
        record(3, 0.2),
        record(5, None, state="failed"),
    ]
    best = best_of(found)
    assert best is not None
    assert best.number == 3
    assert best_of([record(0, None, state="pruned"), record(1, None, state="failed")]) is None
    assert best_of([]) is None


@pytest.mark.parametrize(("select", "number"), [("mean", 0), ("mean+std", 1)])
def test_what_is_minimised_decides_which_trial_is_the_best(select: str, number: int) -> None:
    uneven, even = [0.1, 0.2, 0.3], [0.2, 0.21, 0.22]
    best = best_of([record(0, 0.2, folds=uneven, select=select), record(1, 0.21, folds=even, select=select)])
    assert best is not None
    assert best.number == number


@given(errors=st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_the_score_is_the_mean_over_folds_to_which_their_standard_deviation_may_be_added(errors: list[float]) -> None:
    assert math.isclose(selection_score(errors, "mean"), statistics.fmean(errors), abs_tol=1e-12)
    expected = statistics.fmean(errors) + statistics.stdev(errors)
    assert math.isclose(selection_score(errors, "mean+std"), expected, abs_tol=1e-9)


@pytest.mark.parametrize(("select", "score"), [("mean", 0.25), ("mean+std", 0.320711)])
def test_a_study_minimises_the_score_and_keeps_the_mean_error(path: Path, select: str, score: float) -> None:
    ledger = open_ledger(path, select=select)
    ledger.next_batch()
    folds = [[0.9, 0.2], [0.1, 0.3]]
    ledger.tell(0, TrialResult(curves={"validation_error": [0.5, 0.25]}, fold_errors=folds, state="complete"))
    for records in (ledger.records(), open_ledger(path, select=select).records()):
        assert [(each.error, each.score) for each in records] == [(0.25, score)]
    assert study_at(path).best_value == score


def test_a_stop_rule_compares_with_earlier_batches_alone(whole: Search) -> None:
    rules = [[trial.stop for trial in asked] for asked in whole.asked]
    compared = [{len(rule.earlier) for rule in asked if isinstance(rule, MedianRule)} for asked in rules]
    complete = [row.number for row in whole.table if row.state == "complete"]
    before = [sum(number < asked[0].number for number in complete) for asked in whole.asked]
    assert compared == [{count} if count >= STARTUP_TRIALS else set() for count in before]


def test_without_a_pruner_nothing_is_stopped(path: Path) -> None:
    asked = open_ledger(path, pruner="none").next_batch()
    assert [trial.stop for trial in asked] == [None] * POPULATION


def test_finished_trials_are_read_as_optuna_reads_them(whole: Search) -> None:
    with closing(open_storage(f"sqlite:///{whole.path}")) as storage:
        [name] = optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=name, storage=storage).trials
        read = finished_since(storage, name)
        assert finished_since(storage, name, 5) == read[5:]
    assert {record.state for record in read} == {"complete", "pruned", "failed"}
    for found, trial in zip(read, trials, strict=True):
        assert (found.number, found.state) == (trial.number, STATES[trial.state])
        assert (found.started, found.ended) == (trial.datetime_start, trial.datetime_complete)
        assert [found.score] == (trial.values if trial.state is TrialState.COMPLETE else [None])
