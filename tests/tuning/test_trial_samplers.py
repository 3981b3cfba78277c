"""What each sampler proposes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipeline.models.hyperparameters import Value
from pipeline.tasks.registry import get_variant
from pipeline.tuning.constraints import Constraint
from pipeline.tuning.dimensions import Choice, FloatRange
from pipeline.tuning.samplers import SAMPLERS
from pipeline.tuning.space import Space
from pipeline.tuning.trial_samplers import (
    COMPLETE,
    TRIAL_SAMPLERS,
    Grid,
    Proposal,
    Sampled,
    Screen,
    TwoStep,
    make_trial_sampler,
)
from tests.tuning.results import DIVERGES, grid_space, record, records

ALPHA = FloatRange(low=0.5, high=2.0, step=0.5)
"""Its third value is the preset's."""
CELLS: list[dict[str, Value]] = [
    {"lr": lr, "batch_size": batch_size} for lr in (5e-4, 1e-3, 2e-3) for batch_size in (25, DIVERGES)
]
ERRORS = [0.3, None, 0.1, 0.4, 0.1, 0.2]
"""Of these combinations; the third is the best."""


def told(step: Sequence[Proposal]) -> list[dict[str, Value] | None]:
    return [None if proposal.parameters is None else dict(proposal.parameters) for proposal in step]


class TestSampled:
    @pytest.mark.parametrize("n_trials", [1, 2, 30])
    def test_tries_the_preset_and_leaves_the_others_to_the_sampler(self, n_trials: int) -> None:
        space, trial_sampler = grid_space(alpha=ALPHA), Sampled(n_trials)
        [step] = trial_sampler.steps(space, [])
        assert told(step) == [{"lr": 1e-3, "batch_size": 25, "alpha": 1.0}, *[None] * (n_trials - 1)]
        assert {proposal.samples for proposal in step} == {0}
        assert trial_sampler.total(space, []) == n_trials

    def test_proposes_the_same_whatever_was_found(self) -> None:
        space, trial_sampler = grid_space(), Sampled(5)
        assert trial_sampler.steps(space, [record(0, 0.1), record(1, None)]) == trial_sampler.steps(space, [])


class TestGrid:
    def test_tries_all_combinations_that_the_space_admits(self) -> None:
        assert [told(step) for step in Grid().steps(grid_space(), [])] == [CELLS]
        space = replace(grid_space(alpha=ALPHA), constraints=(Constraint("batch_size * alpha <= 40"),))
        [step] = Grid().steps(space, [])
        expected = [{**cell, "alpha": alpha} for cell in CELLS for alpha in ALPHA.grid]
        assert told(step) == [cell for cell in expected if float(cell["batch_size"]) * float(cell["alpha"]) <= 40]
        assert Grid().total(space, []) == len(step) == 9

    def test_tries_once_more_what_failed(self) -> None:
        space = grid_space()
        [proposed] = Grid().steps(space, [])
        first, again = Grid().steps(space, records(space, proposed, [0.3, None, 0.1, 0.4, None, 0.2]))
        assert first == proposed
        assert told(again) == [CELLS[1], CELLS[4]]
        known = records(space, [*first, *again], [0.3, None, 0.1, 0.4, None, 0.2, None, 0.5])
        assert Grid().steps(space, known) == [first, again]
        assert Grid().total(space, known) == 8

    @pytest.mark.parametrize("finished", range(len(CELLS)))
    def test_waits_until_all_combinations_are_tried(self, finished: int) -> None:
        space = grid_space()
        [proposed] = Grid().steps(space, [])
        assert Grid().steps(space, records(space, proposed, [None] * finished)) == [proposed]


class TestTwoStep:
    def test_tries_all_combinations_at_the_presets_alpha(self) -> None:
        [first] = TwoStep().steps(grid_space(alpha=ALPHA), [])
        assert told(first) == [{**cell, "alpha": 1.0} for cell in CELLS]
        assert {proposal.samples for proposal in first} == {0}

    def test_then_tries_the_other_alphas_at_the_best_of_them(self) -> None:
        space = grid_space(alpha=ALPHA)
        [proposed] = TwoStep().steps(space, [])
        first, second = TwoStep().steps(space, records(space, proposed, ERRORS))
        assert first == proposed
        assert told(second) == [{**CELLS[2], "alpha": alpha} for alpha in (0.5, 1.5, 2.0)]
        assert len(first) + len(second) == TwoStep().total(space, []) == 9

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
                    hyper=space.preset.replaced(proposal.parameters or {}),
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
        failed = records(space, proposed, [None] * 6)
        assert TwoStep().steps(space, failed) == [proposed]
        assert TwoStep().total(space, failed) == 6

    def test_has_one_step_without_alpha(self) -> None:
        space = grid_space()
        [proposed] = TwoStep().steps(space, [])
        assert told(proposed) == CELLS
        known = TwoStep().steps(space, records(space, proposed, ERRORS))
        assert list(itertools.chain(*known)) == proposed
        assert TwoStep().total(space, []) == 6

    def test_may_search_alpha_alone(self) -> None:
        space = Space(dimensions={"alpha": Choice(values=(0.5, 1.0, 2.0))}, preset=get_variant("mlp_al").preset)
        [first] = TwoStep().steps(space, [])
        _, second = TwoStep().steps(space, [record(0, 0.1, hyper=space.preset)])
        assert (told(first), told(second)) == ([{"alpha": 1.0}], [{"alpha": 0.5}, {"alpha": 2.0}])
        assert TwoStep().total(space, []) == 3


class TestScreen:
    def test_tries_all_combinations_on_few_samples(self) -> None:
        [first] = Screen(samples=350, keep=3).steps(grid_space(), [])
        assert told(first) == CELLS
        assert {proposal.samples for proposal in first} == {350}

    def test_takes_alpha_for_a_hyperparameter_like_any_other(self) -> None:
        space = grid_space(alpha=ALPHA)
        [first] = Screen(samples=350, keep=3).steps(space, [])
        assert told(first) == [{**cell, "alpha": alpha} for cell in CELLS for alpha in ALPHA.grid]
        assert Screen(samples=350, keep=3).total(space, []) == 24 + 3

    @pytest.mark.parametrize("keep", [1, 2, 4])
    def test_then_tries_the_best_of_them_on_all_samples(self, keep: int) -> None:
        space, trial_sampler = grid_space(), Screen(samples=350, keep=keep)
        [proposed] = trial_sampler.steps(space, [])
        first, second = trial_sampler.steps(space, records(space, proposed, ERRORS))
        assert first == proposed
        assert told(second) == [CELLS[index] for index in (2, 4, 5, 0)][:keep]  # the earlier one of equals first
        assert {proposal.samples for proposal in second} == {0}
        assert len(first) + len(second) == trial_sampler.total(space, [])

    @pytest.mark.parametrize("finished", range(len(CELLS)))
    def test_waits_until_all_combinations_are_tried(self, finished: int) -> None:
        space, trial_sampler = grid_space(), Screen(samples=350, keep=2)
        [proposed] = trial_sampler.steps(space, [])
        assert trial_sampler.steps(space, records(space, proposed, ERRORS[:finished])) == [proposed]

    def test_keeps_what_is_complete_and_no_more(self) -> None:
        space, trial_sampler = grid_space(), Screen(samples=350, keep=4)
        [proposed] = trial_sampler.steps(space, [])
        _, second = trial_sampler.steps(space, records(space, proposed, [None, 0.2, None, 0.1, None, None]))
        assert told(second) == [CELLS[3], CELLS[1]]

    def test_ranks_by_the_combinations_alone(self) -> None:
        space, trial_sampler = grid_space(), Screen(samples=350, keep=2)
        [proposed] = trial_sampler.steps(space, [])
        known = trial_sampler.steps(space, records(space, proposed, ERRORS))
        assert trial_sampler.steps(space, records(space, itertools.chain(*known), [*ERRORS, 0.01])) == known

    def test_keeps_at_most_as_many_as_there_are(self) -> None:
        assert Screen(samples=350, keep=100).total(grid_space(), []) == 12


def test_every_strategy_is_made_by_its_name() -> None:
    made = {name: make_trial_sampler(name, n_trials=30, screen_samples=350, keep=3) for name in TRIAL_SAMPLERS}
    assert made == {
        **dict.fromkeys(SAMPLERS, Sampled(30)),
        "grid": Grid(),
        "two-step": TwoStep(),
        "screen": Screen(samples=350, keep=3),
    }
    assert {name for name, sampler in made.items() if sampler.complete} == set(COMPLETE)
