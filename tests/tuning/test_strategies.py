"""What each strategy proposes, and that an interrupted search goes on with the same."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.models.hyperparameters import Value
from pipeline.models.registry import get_variant
from pipeline.tuning.space import Choice, FloatRange, Space
from pipeline.tuning.strategies import STRATEGIES, Proposal, Screen, Tpe, TwoStep, make_strategy
from tests.tuning.findings import DIVERGES, grid_space, record, records
from tests.tuning.searches import Plan, Search, finish, lives, one_at_a_time, table

ALPHA = FloatRange(low=0.5, high=2.0, step=0.5)
"""Its third value is the preset's."""
CELLS: list[dict[str, Value]] = [
    {"lr": lr, "batch_size": batch_size} for lr in (5e-4, 1e-3, 2e-3) for batch_size in (25, DIVERGES)
]
ERRORS = [0.3, None, 0.1, 0.4, 0.1, 0.2]
"""Of these combinations; the third is the best."""


def told(step: Sequence[Proposal]) -> list[dict[str, Value] | None]:
    return [None if proposal.parameters is None else dict(proposal.parameters) for proposal in step]


class TestTpe:
    @pytest.mark.parametrize("n_trials", [1, 2, 30])
    def test_tries_the_preset_and_leaves_the_others_to_the_sampler(self, n_trials: int) -> None:
        space, strategy = grid_space(alpha=ALPHA), Tpe(n_trials)
        first, others = strategy.steps(space, [])
        assert told(first) == [{"lr": 1e-3, "batch_size": 25, "alpha": 1.0}]
        assert told(others) == [None] * (n_trials - 1)
        assert {proposal.pairs for proposal in (*first, *others)} == {0}
        assert strategy.total(space) == n_trials

    def test_proposes_the_same_whatever_was_found(self) -> None:
        space, strategy = grid_space(), Tpe(5)
        assert strategy.steps(space, [record(0, 0.1), record(1, None)]) == strategy.steps(space, [])

    def test_does_not_ask_for_finitely_many_combinations(self) -> None:
        assert [make_strategy(name, n_trials=1, screen_pairs=1, keep=1).complete for name in STRATEGIES] == [
            False,
            True,
            True,
        ]


class TestTwoStep:
    def test_tries_all_combinations_at_the_presets_alpha(self) -> None:
        [first] = TwoStep().steps(grid_space(alpha=ALPHA), [])
        assert told(first) == [{**cell, "alpha": 1.0} for cell in CELLS]
        assert {proposal.pairs for proposal in first} == {0}

    def test_then_tries_the_other_alphas_at_the_best_of_them(self) -> None:
        space = grid_space(alpha=ALPHA)
        [proposed] = TwoStep().steps(space, [])
        first, second = TwoStep().steps(space, records(space, proposed, ERRORS))
        assert first == proposed
        assert told(second) == [{**CELLS[2], "alpha": alpha} for alpha in (0.5, 1.5, 2.0)]
        assert len(first) + len(second) == TwoStep().total(space) == 9

    @pytest.mark.parametrize("finished", range(len(CELLS)))
    def test_waits_with_alpha_until_all_combinations_are_tried(self, finished: int) -> None:
        space = grid_space(alpha=ALPHA)
        [proposed] = TwoStep().steps(space, [])
        assert TwoStep().steps(space, records(space, proposed, ERRORS[:finished])) == [proposed]

    def test_chooses_by_the_combinations_alone(self) -> None:
        space = grid_space(alpha=ALPHA)
        [proposed] = TwoStep().steps(space, [])
        known = TwoStep().steps(space, records(space, proposed, ERRORS))
        better = records(space, itertools.chain(*known), [*ERRORS, 0.05, 0.01])
        assert TwoStep().steps(space, better) == known

    def test_chooses_by_what_is_minimised(self) -> None:
        space = grid_space(alpha=ALPHA)
        [proposed] = TwoStep().steps(space, [])
        folds = [(0.1, 0.3), (0.21, 0.21), *[(0.5, 0.5)] * 4]
        for select, chosen in (("mean", 0), ("mean+std", 1)):
            found = [
                record(
                    number,
                    0.0,
                    hyper=space.preset.having(proposal.parameters or {}),
                    folds=folds[number],
                    select=select,
                )
                for number, proposal in enumerate(proposed)
            ]
            _, second = TwoStep().steps(space, found)
            assert {(each["lr"], each["batch_size"]) for each in told(second) if each} == {
                tuple(CELLS[chosen].values())
            }

    def test_proposes_nothing_more_where_all_failed(self) -> None:
        space = grid_space(alpha=ALPHA)
        [proposed] = TwoStep().steps(space, [])
        assert TwoStep().steps(space, records(space, proposed, [None] * 6)) == [proposed]

    def test_has_one_step_without_alpha(self) -> None:
        space = grid_space()
        [proposed] = TwoStep().steps(space, [])
        assert told(proposed) == CELLS
        known = TwoStep().steps(space, records(space, proposed, ERRORS))
        assert list(itertools.chain(*known)) == proposed
        assert TwoStep().total(space) == 6

    def test_may_search_alpha_alone(self) -> None:
        space = Space(dimensions={"alpha": Choice(values=(0.5, 1.0, 2.0))}, preset=get_variant("mlp_al").preset)
        [first] = TwoStep().steps(space, [])
        _, second = TwoStep().steps(space, [record(0, 0.1, hyper=space.preset)])
        assert (told(first), told(second)) == ([{"alpha": 1.0}], [{"alpha": 0.5}, {"alpha": 2.0}])
        assert TwoStep().total(space) == 3


class TestScreen:
    def test_tries_all_combinations_on_few_pairs(self) -> None:
        [first] = Screen(pairs=350, keep=3).steps(grid_space(), [])
        assert told(first) == CELLS
        assert {proposal.pairs for proposal in first} == {350}

    def test_takes_alpha_for_a_hyperparameter_like_any_other(self) -> None:
        space = grid_space(alpha=ALPHA)
        [first] = Screen(pairs=350, keep=3).steps(space, [])
        assert told(first) == [{**cell, "alpha": alpha} for cell in CELLS for alpha in ALPHA.grid]
        assert Screen(pairs=350, keep=3).total(space) == 24 + 3

    @pytest.mark.parametrize("keep", [1, 2, 4])
    def test_then_tries_the_best_of_them_on_all_pairs(self, keep: int) -> None:
        space, strategy = grid_space(), Screen(pairs=350, keep=keep)
        [proposed] = strategy.steps(space, [])
        first, second = strategy.steps(space, records(space, proposed, ERRORS))
        assert first == proposed
        assert told(second) == [CELLS[index] for index in (2, 4, 5, 0)][:keep]  # the earlier one of equals first
        assert {proposal.pairs for proposal in second} == {0}
        assert len(first) + len(second) == strategy.total(space)

    @pytest.mark.parametrize("finished", range(len(CELLS)))
    def test_waits_until_all_combinations_are_tried(self, finished: int) -> None:
        space, strategy = grid_space(), Screen(pairs=350, keep=2)
        [proposed] = strategy.steps(space, [])
        assert strategy.steps(space, records(space, proposed, ERRORS[:finished])) == [proposed]

    def test_keeps_what_is_complete_and_no_more(self) -> None:
        space, strategy = grid_space(), Screen(pairs=350, keep=4)
        [proposed] = strategy.steps(space, [])
        _, second = strategy.steps(space, records(space, proposed, [None, 0.2, None, 0.1, None, None]))
        assert told(second) == [CELLS[3], CELLS[1]]

    def test_ranks_by_the_combinations_alone(self) -> None:
        space, strategy = grid_space(), Screen(pairs=350, keep=2)
        [proposed] = strategy.steps(space, [])
        known = strategy.steps(space, records(space, proposed, ERRORS))
        assert strategy.steps(space, records(space, itertools.chain(*known), [*ERRORS, 0.01])) == known

    def test_keeps_at_most_as_many_as_there_are(self) -> None:
        assert Screen(pairs=350, keep=100).total(grid_space()) == 12


SWITCHES = Space(
    dimensions={"batch_norm": Choice(values=(True, False)), "batch_size": Choice(values=(25, 50))},
    preset=get_variant("mlp_al").preset,
)
PLANS = {
    "two-step": Plan(strategy=TwoStep(), space=grid_space(alpha=ALPHA), pruner="none", select="mean+std"),
    "two-step without alpha": Plan(strategy=TwoStep(), space=grid_space(), pruner="none"),
    "screen": Plan(strategy=Screen(pairs=60, keep=3), space=SWITCHES, pruner="none"),
}


@pytest.fixture(scope="module", params=PLANS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Search:
    return Search(PLANS[request.param], tmp_path_factory.mktemp("whole"))


def test_the_total_is_the_number_of_trials_that_are_made(whole: Search) -> None:
    assert [record.number for record in whole.records] == list(range(whole.planned))
    assert whole.plan.strategy.total(whole.plan.space) == whole.planned


def test_every_trial_is_what_the_strategy_proposed(whole: Search) -> None:
    known = whole.plan.strategy.steps(whole.plan.space, whole.records)
    preset = whole.plan.space.preset
    expected = [(preset.having(proposal.parameters or {}), proposal.pairs) for step in known for proposal in step]
    assert [(record.hyper, record.pairs) for record in whole.records] == expected
    assert [(trial.hyper, trial.pairs) for asked in whole.asked for trial in asked] == expected
    assert len(set(expected)) == len(expected)


def test_no_generation_begins_before_the_step_before_it_is_finished(whole: Search) -> None:
    ends = set(itertools.accumulate(map(len, whole.plan.strategy.steps(whole.plan.space, whole.records))))
    for asked in whole.asked:
        numbers = [trial.number for trial in asked]
        assert {trial.generation for trial in asked} == {numbers[0]}
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert not ends & set(numbers[1:])


def test_a_search_that_died_after_any_step_ends_as_one_that_ran_through(tmp_path: Path, whole: Search) -> None:
    for step, copy in enumerate(whole.copies):
        path = Path(shutil.copy(copy, tmp_path / f"{step}.db"))
        assert finish(whole.plan.open(path)) == whole.table


def test_a_search_opened_anew_after_every_step_gives_the_same(tmp_path: Path, whole: Search) -> None:
    assert one_at_a_time(whole.plan, tmp_path / "optuna.db") == whole.table


def test_a_search_that_died_between_any_two_transactions_ends_as_one_that_ran_through(
    tmp_path: Path, whole: Search
) -> None:
    path = tmp_path / "optuna.db"
    assert sum(lives(whole.plan, path, 0)) > 2
    assert table(whole.plan.open(path)) == whole.table


def test_every_strategy_is_made_by_its_name() -> None:
    made = [make_strategy(name, n_trials=30, screen_pairs=350, keep=3) for name in STRATEGIES]
    assert made == [Tpe(30), TwoStep(), Screen(pairs=350, keep=3)]
