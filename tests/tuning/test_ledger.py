from __future__ import annotations

import itertools
import math
import pickle
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import event

from pipeline.errors import InputError
from pipeline.models.registry import get_variant
from pipeline.models.variant import Hyperparameters
from pipeline.seeds import numpy_generator
from pipeline.tuning.ledger import Asked, Finding, Ledger, State, TrialRecord, best_of
from pipeline.tuning.pruning import STARTUP_TRIALS, WARMUP_EPOCHS, MedianStop, median_stop
from pipeline.tuning.storage import open_storage
from tests.tuning.findings import POPULATION, TRIALS, finding, open_ledger, space, steps, table


class Search:
    """A search that ran through, with a copy of its database after every step."""

    def __init__(self, folder: Path) -> None:
        self.copies: list[Path] = []
        self.asked: list[list[Asked]] = []
        ledger = open_ledger(folder / "whole.db")
        for asked in steps(ledger):
            copy = folder / f"{len(self.copies)}.db"
            with closing(sqlite3.connect(folder / "whole.db")) as whole, closing(sqlite3.connect(copy)) as part:
                whole.backup(part)
            self.copies.append(copy)
            if asked:
                self.asked.append(asked)
        self.table = table(ledger)
        self.trials = optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{folder}/whole.db")).trials

    def database(self, generation: int, path: Path) -> Path:
        """A copy, at `path`, of the database as it was before the generation was asked for."""
        told = sum(1 + len(asked) for asked in self.asked[:generation])
        return Path(shutil.copy(self.copies[told - 1], path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Search:
    return Search(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


def proposed(asked: list[Asked]) -> list[tuple[int, Hyperparameters]]:
    return [(trial.number, trial.hyper) for trial in asked]


def finish(ledger: Ledger) -> Any:
    list(steps(ledger))
    return table(ledger)


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
    ledger = open_ledger(path)
    assert sum(map(len, steps(ledger, 1))) == 1
    assert list(steps(ledger, 1)) == []
    assert sum(map(len, steps(open_ledger(path), 3))) == 2
    assert [record.number for record in open_ledger(path).records()] == [0, 1, 2]
    assert open_ledger(path).next_generation(3, POPULATION) == []


def test_a_search_asks_again_for_what_was_not_told(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[1], path)  # trial 0 is told
    first = proposed(open_ledger(path).next_generation(TRIALS, POPULATION))
    assert len(first) == POPULATION
    assert proposed(open_ledger(path).next_generation(TRIALS, POPULATION)) == first


def test_a_search_opened_anew_after_every_step_gives_the_same(path: Path, whole: Search) -> None:
    while True:
        asked = open_ledger(path).next_generation(TRIALS, POPULATION)
        if not asked:
            break
        open_ledger(path).tell(asked[0].number, finding(asked[0]))
    assert table(open_ledger(path)) == whole.table


@pytest.mark.parametrize("step", range(0, TRIALS + 5, 2))
def test_a_search_that_died_after_any_step_ends_as_one_that_ran_through(path: Path, whole: Search, step: int) -> None:
    shutil.copy(whole.copies[step], path)
    assert finish(open_ledger(path)) == whole.table


class Death(BaseException):
    """The process ends here."""


def die_before_transaction(ledger: Ledger, count: int) -> None:
    countdown = itertools.count(count, -1)

    def begin(_connection: object) -> None:
        if next(countdown) <= 0:
            raise Death

    event.listen(ledger._storage.engine, "begin", begin)


def lives(path: Path, seed: int) -> Iterator[bool]:
    """Search until the end, dying before some transaction of each life; yields whether it died."""
    lengths = numpy_generator(seed, "lives")
    while True:
        ledger = open_ledger(path)
        die_before_transaction(ledger, int(lengths.integers(20, 60)))
        try:
            finish(ledger)
        except Death:
            yield True
        else:
            return


@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_died_between_any_two_transactions_ends_as_one_that_ran_through(
    path: Path, whole: Search, seed: int
) -> None:
    assert sum(lives(path, seed)) > 8
    assert table(open_ledger(path)) == whole.table


@pytest.mark.parametrize("named", range(4))
@pytest.mark.parametrize("generation", [1, 4])
def test_a_trial_that_was_half_proposed_is_completed_as_it_would_have_been(
    path: Path, whole: Search, generation: int, named: int
) -> None:
    study = optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{whole.database(generation, path)}"))
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
    assert proposed(ledger.next_generation(TRIALS, POPULATION)) == proposed(whole.asked[generation])
    assert finish(ledger) == whole.table


def test_a_trial_that_was_half_told_is_told_again(path: Path, whole: Search) -> None:
    ledger = open_ledger(path)
    (asked,) = ledger.next_generation(1, POPULATION)
    study = optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{path}"))
    trial = optuna.Trial(study, study.trials[0]._trial_id)
    for epoch, error in enumerate(finding(asked).curves["validation_error"][:3], start=1):
        trial.report(error, epoch)
    open_ledger(path).tell(0, finding(asked))
    assert table(open_ledger(path)) == whole.table[:1]


def test_a_preset_that_was_queued_but_not_asked_is_trial_0(path: Path, whole: Search) -> None:
    open_ledger(path)
    study = optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{path}"))
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
    (asked,) = ledger.next_generation(1, POPULATION)
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
        assert record.hyper == asked.hyper
        assert record.curves == {"validation_error": [0.333333, 0.25], "train_loss": [2.0, 0.0]}
        assert record.fold_errors == [[0.123457, 0.2], [1.0, 0.3]]
        assert record.started <= before <= record.ended


@pytest.mark.parametrize("read_off", [None, 0, 7])
@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_records_keep_where_a_trial_was_read_off(path: Path, state: State, read_off: int | None) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(1, POPULATION)
    ledger.tell(0, Finding(curves={"validation_error": [0.5]}, fold_errors=[[0.5]], state=state, read_off=read_off))
    for records in (ledger.records(), open_ledger(path).records()):
        assert [record.read_off for record in records] == [read_off]


def test_a_trial_that_is_read_off_a_record_is_the_same_as_read_off_what_was_found(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(1, POPULATION)
    curve = [1 / 3, 2 / 7]
    ledger.tell(0, Finding(curves={"validation_error": curve}, fold_errors=[curve, curve], state="complete"))
    (record,) = open_ledger(path).records()
    assert record.error == record.curves["validation_error"][-1]
    study = optuna.load_study(study_name="study", storage=open_storage(f"sqlite:///{path}"))
    assert list(study.trials[0].intermediate_values.values()) == record.curves["validation_error"]


@pytest.mark.parametrize("seen", [[], [0.5, math.nan]], ids=["nothing seen", "ends with nan"])
def test_a_failed_trial_may_have_seen_little(path: Path, seen: list[float]) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(1, POPULATION)
    ledger.tell(0, Finding(curves={"validation_error": seen}, fold_errors=[seen], state="failed", reason="diverged"))
    (record,) = open_ledger(path).records()
    assert (record.state, record.error, len(record.curves["validation_error"])) == ("failed", None, len(seen))


def test_folds_of_a_failed_trial_may_have_ended_after_different_epochs(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.next_generation(1, POPULATION)
    folds = [[0.5], [0.5, 0.4, 0.3]]
    ledger.tell(0, Finding(curves={"validation_error": [0.5]}, fold_errors=folds, state="failed", reason="fold 0"))
    (record,) = open_ledger(path).records()
    assert record.fold_errors == folds


def record(number: int, state: State, error: float | None) -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,
        reason="",
        error=error,
        hyper=Hyperparameters(lr=0.1, batch_size=1, epochs=1),
        curves={},
        fold_errors=[],
        read_off=None,
        started=datetime.now(),
        ended=datetime.now(),
    )


def test_the_best_is_the_earliest_complete_trial_with_the_least_error() -> None:
    records = [
        record(0, "complete", 0.3),
        record(1, "pruned", None),
        record(4, "complete", 0.2),
        record(3, "complete", 0.2),
        record(5, "failed", None),
    ]
    best = best_of(records)
    assert best is not None
    assert best.number == 3
    assert best_of([record(0, "pruned", None), record(1, "failed", None)]) is None
    assert best_of([]) is None


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
    asked = open_ledger(path, pruner="none").next_generation(TRIALS, POPULATION)
    assert [trial.stop for trial in asked] == [None]
