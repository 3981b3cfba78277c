"""A search that dies anywhere and goes on ends as one that ran through, however it searches."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from pipeline.tasks.registry import get_variant
from pipeline.tuning.constraints import Constraint
from pipeline.tuning.dimensions import Choice, FloatRange, IntRange
from pipeline.tuning.records import BEGUN, FOUND
from pipeline.tuning.space import Condition, Space
from pipeline.tuning.trial_samplers import TRIAL_SAMPLERS, Grid, Sampled, Screen, TwoStep
from tests.tuning.results import DIVERGES, FOLDS, grid_space, result
from tests.tuning.searches import Plan, Search, finish, lives, one_at_a_time, study_at, table

ALPHA = FloatRange(low=0.5, high=2.0, step=0.5)
"""Its second value is the preset's."""
PRESET = get_variant("mlp_al").preset
MIXED = Space(
    dimensions={
        "lr": FloatRange(low=5e-4, high=5e-3, log=True, significant_digits=2),
        "batch_size": Choice(values=(25, 50, DIVERGES)),
        "epochs": IntRange(low=5, high=45, step=5),
        "optimiser": Choice(values=("adam", "sgd")),
        "momentum": FloatRange(low=0.0, high=0.9, step=0.3),
    },
    preset=PRESET,
    conditions={"momentum": Condition("optimiser", ("sgd",))},
    constraints=(Constraint("batch_size * epochs <= 2500"),),
)
"""All that a space can say."""
SWITCHES = Space(
    dimensions={"batch_norm": Choice(values=(True, False)), "batch_size": Choice(values=(25, 50))}, preset=PRESET
)
LASTING = replace(MIXED, dimensions={**MIXED.dimensions, "batch_size": Choice(values=(10, 25))})
"""In which no training fails, so that samplers and pruners have something to go by soon."""
PLANS = {
    "tpe": Plan(trial_sampler=Sampled(11), sampler="tpe", space=grid_space(), seed=4, replicate=True),
    "random": Plan(trial_sampler=Sampled(11), sampler="random", space=LASTING, pruner="halving"),
    "qmc": Plan(trial_sampler=Sampled(11), sampler="qmc", space=LASTING, pruner="hyperband"),
    "cmaes": Plan(trial_sampler=Sampled(11), sampler="cmaes", space=LASTING, pruner="wilcoxon"),
    "gp": Plan(trial_sampler=Sampled(13), sampler="gp", space=LASTING, pruner="none"),  # it begins after ten trials
    "nsga2": Plan(trial_sampler=Sampled(9), sampler="nsga2", space=MIXED, pruner="none", objectives=2),
    "grid": Plan(trial_sampler=Grid(), sampler="grid", space=grid_space(), pruner="none"),
    "two-step": Plan(
        trial_sampler=TwoStep(), sampler="two-step", space=grid_space(alpha=ALPHA), pruner="none", select="mean+std"
    ),
    "screen": Plan(trial_sampler=Screen(samples=60, keep=3), sampler="screen", space=SWITCHES, pruner="none"),
}


def test_every_way_to_search_is_here() -> None:
    assert set(PLANS) == set(TRIAL_SAMPLERS)


@pytest.fixture(scope="module", params=PLANS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, empty_studies: Path) -> Search:
    return Search(PLANS[request.param], tmp_path_factory.mktemp("whole"), empty_studies)


def test_the_total_is_the_number_of_trials_that_are_made(whole: Search) -> None:
    assert [record.number for record in whole.records] == list(range(whole.planned))
    assert whole.plan.trial_sampler.total(whole.plan.space, whole.records) == whole.planned


def test_every_trial_is_what_the_strategy_proposed(whole: Search) -> None:
    steps = whole.plan.trial_sampler.steps(whole.plan.space, whole.records)
    proposals = list(itertools.chain(*steps))
    assert len(proposals) == len(whole.records)
    for proposal, record in zip(proposals, whole.records, strict=True):
        assert proposal.samples == record.samples
        if proposal.parameters is not None:
            assert record.hyper == whole.plan.space.hyper(proposal.parameters)


def test_what_was_asked_is_what_was_recorded(whole: Search) -> None:
    asked = [(trial.number, trial.hyper, trial.samples, trial.draw) for trial in itertools.chain(*whole.asked)]
    assert asked == [(record.number, record.hyper, record.samples, record.draw) for record in whole.records]
    for trials in whole.asked:
        assert {trial.batch for trial in trials} == {(trials[0].number, trials[-1].number + 1)}


def test_no_batch_begins_before_the_step_before_it_is_finished(whole: Search) -> None:
    ends = set(itertools.accumulate(map(len, whole.plan.trial_sampler.steps(whole.plan.space, whole.records))))
    for asked in whole.asked:
        numbers = [trial.number for trial in asked]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert not ends & set(numbers[1:])


def test_a_search_that_died_after_any_step_ends_as_one_that_ran_through(tmp_path: Path, whole: Search) -> None:
    for step, copy in list(enumerate(whole.copies))[::-9]:
        path = Path(shutil.copy(copy, tmp_path / f"{step}.db"))
        assert finish(whole.plan.open(path), whole.plan) == whole.table


def test_a_search_opened_anew_after_every_step_gives_the_same(path: Path, whole: Search) -> None:
    assert one_at_a_time(whole.plan, path) == whole.table


def test_a_search_that_died_between_any_two_transactions_ends_as_one_that_ran_through(
    path: Path, whole: Search
) -> None:
    assert sum(lives(whole.plan, path, 0)) > 1
    assert table(whole.plan.open(path)) == whole.table


def test_a_trial_that_was_half_told_is_told_again(path: Path, whole: Search) -> None:
    shutil.copy(whole.copies[-2], path)
    [*told, last] = whole.plan.open(path).next_batch()
    assert all(trial.is_recorded for trial in told)
    study = study_at(path)
    half = optuna.Trial(study, study.trials[last.number]._trial_id)
    half.storage.set_trial_system_attr(half._trial_id, FOUND, "half of it")
    for epoch, error in enumerate(result(last).curves["validation_error"][:3], start=1):
        half.storage.set_trial_intermediate_value(half._trial_id, epoch, error)
    assert finish(whole.plan.open(path), whole.plan) == whole.table


def test_no_state_of_a_sampler_is_in_the_database(whole: Search) -> None:
    with closing(sqlite3.connect(whole.path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    assert len(rows["trials"]) == len(whole.records)
    assert {key for _, _, key, _ in rows["study_system_attributes"]} == {"study:metric_names"}
    assert {key for _, _, key, _ in rows["trial_system_attributes"]} == {BEGUN, FOUND}
    cells = [cell for table in rows.values() for row in table for cell in row]
    assert not any(isinstance(cell, bytes) or "cma:" in str(cell) for cell in cells)


def test_samplers_meet_trials_of_every_kind_here(whole: Search) -> None:
    expected = {"tpe": {"failed"}, "nsga2": {"failed"}, "grid": {"failed"}, "two-step": {"failed"}}
    expected |= {name: {"pruned"} for name in ("random", "qmc", "cmaes")}
    states = {record.state for record in whole.records}
    assert states == {"complete"} | expected.get(whole.plan.sampler, set())
    searched = {"momentum" in trial.params for trial in whole.trials}
    assert searched == ({True, False} if whole.plan.space.conditions else {False})


@pytest.mark.parametrize("whole", ["tpe"], indirect=True)
def test_configurations_are_tried_on_several_draws_here(whole: Search) -> None:
    assert {record.draw for record in whole.records} >= {0, 1, 2}
    adding = [record for record in whole.records if record.source]
    assert {len(record.fold_errors) / FOLDS for record in adding} == {record.draw + 1 for record in adding} >= {2, 3}


@pytest.mark.parametrize("whole", ["grid"], indirect=True)
def test_a_grid_tries_again_what_failed_here(whole: Search) -> None:
    failed = [record.hyper for record in whole.records[:6] if record.state == "failed"]
    assert [record.hyper for record in whole.records[6:]] == failed != []
