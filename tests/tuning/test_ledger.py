from __future__ import annotations

import math
import pickle
import shutil
import statistics
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from pipeline.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.registry import get_variant
from pipeline.tuning.pruning import STARTUP_TRIALS, WARMUP_EPOCHS, MedianStop, median_stop
from pipeline.tuning.storage import open_storage
from pipeline.tuning.strategies import Tpe
from pipeline.tuning.trials import Asked, Finding, State, best_of, selection_score
from tests.tuning.findings import TRIALS, finding, record, space
from tests.tuning.searches import (
    POPULATION,
    Plan,
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
def whole(tmp_path_factory: pytest.TempPathFactory) -> Search:
    return Search(Plan(), tmp_path_factory.mktemp("whole"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


def proposed(asked: list[Asked]) -> list[tuple[int, Hyperparameters]]:
    return [(trial.number, trial.hyper) for trial in asked]


def database(whole: Search, generation: int, path: Path) -> Path:
    """A copy, at `path`, of the database as it was before the generation was asked for."""
    told = sum(1 + len(asked) for asked in whole.asked[:generation])
    return Path(shutil.copy(whole.copies[told - 1], path))


def test_generations_have_the_stated_sizes_and_end_with_the_total(whole: Search) -> None:
    assert [[trial.number for trial in asked] for asked in whole.asked] == [
        [0],
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12],
        [13, 14],
    ]


def test_the_first_trial_is_the_preset_and_the_others_differ(whole: Search) -> None:
    configurations = [trial.hyper for asked in whole.asked for trial in asked]
    assert configurations[0] == get_variant("mlp_al").preset
    assert len(set(configurations)) == TRIALS


def test_the_example_holds_every_kind_of_trial(whole: Search) -> None:
    assert {row[1] for row in whole.table} == {"complete", "pruned", "failed"}


def test_every_configuration_lies_in_the_space(whole: Search) -> None:
    for asked in whole.asked:
        for trial in asked:
            values = trial.hyper.as_dict()
            assert all(values[name] in dimension for name, dimension in space().dimensions.items())


def test_the_number_of_trials_is_a_total(path: Path) -> None:
    ledger = open_ledger(path, strategy=Tpe(1))
    assert sum(map(len, steps(ledger))) == 1
    assert list(steps(ledger)) == []
    assert sum(map(len, steps(open_ledger(path, strategy=Tpe(3))))) == 2
    assert [record.number for record in open_ledger(path).records()] == [0, 1, 2]
    assert open_ledger(path, strategy=Tpe(3)).next_generation(POPULATION) == []


def test_a_search_that_was_made_shorter_leaves_alone_what_was_running_beyond_its_end(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[2], path)  # trial 0 is told, and 1 to 4 are running
    shorter = open_ledger(path, strategy=Tpe(3))
    assert proposed(shorter.next_generation(POPULATION)) == proposed(whole.asked[1][:2])
    assert finish(shorter) == whole.table[:3]
    assert open_ledger(path, strategy=Tpe(2)).next_generation(POPULATION) == []
    assert finish(open_ledger(path)) == whole.table


def test_a_search_asks_again_for_what_was_not_told(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[1], path)  # trial 0 is told
    first = proposed(open_ledger(path).next_generation(POPULATION))
    assert len(first) == POPULATION
    assert proposed(open_ledger(path).next_generation(POPULATION)) == first


def test_a_search_opened_anew_after_every_step_gives_the_same(path: Path, whole: Search) -> None:
    assert one_at_a_time(whole.plan, path) == whole.table


@pytest.mark.parametrize("step", range(0, TRIALS + 5, 2))
def test_a_search_that_died_after_any_step_ends_as_one_that_ran_through(path: Path, whole: Search, step: int) -> None:
    shutil.copy(whole.copies[step], path)
    assert finish(open_ledger(path)) == whole.table


@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_died_between_any_two_transactions_ends_as_one_that_ran_through(
    path: Path, whole: Search, seed: int
) -> None:
    assert sum(lives(whole.plan, path, seed)) > 8
    assert table(open_ledger(path)) == whole.table


@pytest.mark.parametrize("named", range(4))
@pytest.mark.parametrize("generation", [1, 4])
def test_a_trial_that_was_half_proposed_is_completed_as_it_would_have_been(
    path: Path, whole: Search, generation: int, named: int
) -> None:
    study = study_at(database(whole, generation, path))
    names = list(space().dimensions)
    first = len(study.trials)
    for number, known in ((first, names), (first + 1, names[:named])):
        trial = whole.trials[number]
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params={name: trial.params[name] for name in known},
                distributions={name: trial.distributions[name] for name in known},
            )
        )
    ledger = open_ledger(path)
    assert proposed(ledger.next_generation(POPULATION)) == proposed(whole.asked[generation])
    assert finish(ledger) == whole.table


def test_a_trial_that_was_half_told_is_told_again(path: Path, whole: Search) -> None:
    ledger = open_ledger(path)
    (asked,) = ledger.next_generation(POPULATION)
    study = study_at(path)
    trial = optuna.Trial(study, study.trials[0]._trial_id)
    for epoch, error in enumerate(finding(asked).curves["validation_error"][:3], start=1):
        trial.report(error, epoch)
    open_ledger(path).tell(0, finding(asked))
    assert table(open_ledger(path)) == whole.table[:1]


def test_a_preset_that_was_queued_but_not_asked_is_trial_0(path: Path, whole: Search) -> None:
    open_ledger(path)
    study = study_at(path)
    study.enqueue_trial(space().preset_parameters)
    assert finish(open_ledger(path)) == whole.table


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
    (asked,) = ledger.next_generation(POPULATION)
    before = datetime.now()
    ledger.tell(
        0,
        Finding(
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
        assert record.pairs == 0
        assert record.hyper == asked.hyper
        assert record.curves == {"validation_error": [0.333333, 0.25], "train_loss": [2.0, 0.0]}
        assert record.fold_errors == [[0.123457, 0.2], [1.0, 0.3]]
        assert record.started <= before <= record.ended


@pytest.mark.parametrize("read_off", [None, 0, 7])
@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_records_keep_where_a_trial_was_read_off(path: Path, state: State, read_off: int | None) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(POPULATION)
    ledger.tell(0, Finding(curves={"validation_error": [0.5]}, fold_errors=[[0.5]], state=state, read_off=read_off))
    for records in (ledger.records(), open_ledger(path).records()):
        assert [record.read_off for record in records] == [read_off]


def test_a_trial_that_is_read_off_a_record_is_the_same_as_read_off_what_was_found(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(POPULATION)
    curve = [1 / 3, 2 / 7]
    ledger.tell(0, Finding(curves={"validation_error": curve}, fold_errors=[curve, curve], state="complete"))
    (record,) = open_ledger(path).records()
    assert record.error == record.curves["validation_error"][-1]
    study = study_at(path)
    assert list(study.trials[0].intermediate_values.values()) == record.curves["validation_error"]


@pytest.mark.parametrize("seen", [[], [0.5, math.nan]], ids=["nothing seen", "ends with nan"])
def test_a_failed_trial_may_have_seen_little(path: Path, seen: list[float]) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(POPULATION)
    ledger.tell(0, Finding(curves={"validation_error": seen}, fold_errors=[seen], state="failed", reason="diverged"))
    (record,) = open_ledger(path).records()
    assert (record.state, record.error, len(record.curves["validation_error"])) == ("failed", None, len(seen))


def test_folds_of_a_failed_trial_may_have_ended_after_different_epochs(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(POPULATION)
    folds = [[0.5], [0.5, 0.4, 0.3]]
    ledger.tell(0, Finding(curves={"validation_error": [0.5]}, fold_errors=folds, state="failed", reason="fold 0"))
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
    ledger.next_generation(POPULATION)
    folds = [[0.9, 0.2], [0.1, 0.3]]
    ledger.tell(0, Finding(curves={"validation_error": [0.5, 0.25]}, fold_errors=folds, state="complete"))
    for records in (ledger.records(), open_ledger(path, select=select).records()):
        assert [(each.error, each.score) for each in records] == [(0.25, score)]
    assert study_at(path).best_value == score


def stop_after(count: int) -> MedianStop | None:
    """The rule after trials whose errors fall from 0.5 to 0.3 in ten epochs, told apart by at most 0.02."""
    falling = np.linspace(0.5, 0.3, 10)
    curves = [falling + offset for offset in np.linspace(0, 0.02, count)]
    return median_stop(
        [create_trial(value=curve[-1], intermediate_values=dict(enumerate(curve, 1))) for curve in curves]
        + [create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.0, 10: 0.0})]
        + [create_trial(state=TrialState.FAIL)]
    )


def stop_rule() -> MedianStop:
    rule = stop_after(STARTUP_TRIALS)
    assert rule is not None
    return rule


WORSE = [0.6] * 10
BETTER = np.linspace(0.45, 0.2, 10).tolist()


def test_a_clearly_worse_trial_is_stopped_but_never_in_its_first_epochs() -> None:
    stop = stop_rule()
    assert [stop(WORSE[:epoch]) for epoch in range(1, 11)] == [epoch > WARMUP_EPOCHS for epoch in range(1, 11)]


def test_a_better_trial_goes_on() -> None:
    assert not any(stop_rule()(BETTER[:epoch]) for epoch in range(1, 11))


def test_a_trial_that_was_better_once_goes_on() -> None:
    assert not stop_rule()([0.1, *WORSE[1:]])


def test_nothing_is_stopped_before_enough_trials_are_complete() -> None:
    assert stop_after(STARTUP_TRIALS - 1) is None


def test_a_stop_rule_can_be_sent_to_another_process() -> None:
    stop = pickle.loads(pickle.dumps(stop_rule()))
    assert stop(WORSE)
    assert not stop(BETTER)


def test_a_stop_rule_compares_with_earlier_generations_alone(whole: Search) -> None:
    compared = [{len(trial.stop.finished) for trial in asked if trial.stop is not None} for asked in whole.asked]
    complete = [row[0] for row in whole.table if row[1] == "complete"]
    before = [sum(number < asked[0].number for number in complete) for asked in whole.asked]
    assert compared == [{count} if count >= STARTUP_TRIALS else set() for count in before]


def test_without_a_pruner_nothing_is_stopped(path: Path) -> None:
    asked = open_ledger(path, pruner="none").next_generation(POPULATION)
    assert [trial.stop for trial in asked] == [None]
