"""Searches that try all combinations: in two steps (the grid, then alpha), and by screening on few pairs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import InputError, StageError
from pipeline.data.rounds import draw_samples
from pipeline.stages import prepare, search
from pipeline.stages.prepare import PrepareConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.tuning.trials import SELECTIONS
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import (
    Make,
    config_of,
    rows_of,
    search_with_deaths,
    searched,
    table_of,
    trained_in,
    trials_of,
)
from tests.stages.silent import Silent

GRID = """
lr: {type: choice, values: [0.001, 0.005]}
batch_size: {type: choice, values: [10, 20, 40]}
epochs: {type: choice, values: [2]}
"""
ALPHA = "alpha: {type: float, low: 0.5, high: 1.5, step: 0.5}\n"
LAYERS = """
nodes: {type: choice, values: [4, 32]}
layers: {type: choice, values: [1, 2]}
epochs: {type: choice, values: [3]}
"""


@pytest.fixture(scope="module")
def two_step(make: Make) -> SearchConfig:
    return make(GRID + ALPHA, model="mlp_ws_al", sampler="two-step")


@pytest.fixture(scope="module")
def screen(make: Make) -> SearchConfig:
    return make(LAYERS, model="linear_digits", sampler="screen", screen_samples=20, keep=2)


@pytest.fixture(scope="module")
def in_two_steps(two_step: SearchConfig) -> tuple[MemoryTracker, MemoryRun]:
    return searched(two_step)


@pytest.fixture(scope="module")
def screened(screen: SearchConfig) -> tuple[MemoryTracker, MemoryRun]:
    return searched(screen)


def error_of(run: MemoryRun, select: str = "mean") -> float:
    """What a trial's score is by its own metrics."""
    mean, spread = (run.metrics[name, 0] for name in ("cv_validation_error", "cv_validation_error_std"))
    return round(mean + spread * (select == "mean+std"), 5)


def test_two_steps_are_the_grid_at_the_presets_alpha_and_then_the_other_alphas(
    in_two_steps: tuple[MemoryTracker, MemoryRun],
) -> None:
    tracker, run = in_two_steps
    configs = [config_of(trial) for trial in trials_of(tracker)]
    assert [(hyper.lr, hyper.batch_size) for hyper in configs[:6]] == [*itertools.product([0.001, 0.005], [10, 20, 40])]
    assert {hyper.alpha for hyper in configs[:6]} == {1}
    best = min(range(6), key=lambda number: error_of(trials_of(tracker)[number]))
    assert configs[6:] == [configs[best].replaced({"alpha": alpha}) for alpha in (0.5, 1.5)]
    assert {trial.status for trial in trials_of(tracker)} == {"FINISHED"}
    assert trained_in(run) == sorted(f"trial/{number}/round/0/fold/{fold}" for number in range(8) for fold in (0, 1))


def test_the_best_of_both_steps_is_what_was_found(in_two_steps: tuple[MemoryTracker, MemoryRun]) -> None:
    tracker, run = in_two_steps
    trials = trials_of(tracker)
    best = min(trials, key=lambda trial: (error_of(trial), int(trial.tags["trial"])))
    assert run.tags["best_trial"] == best.tags["trial"]
    assert run.tags["config"] == best.tags["config"]
    assert "the preset was not among those tried" in run.description


def test_two_steps_are_drawn(in_two_steps: tuple[MemoryTracker, MemoryRun]) -> None:
    tracker, run = in_two_steps
    assert set(run.figures) == {"history.png", "heat_map.png", "alpha.png", "loss.png"}
    errors = [100 * trial.metrics["cv_validation_error", 0] for trial in trials_of(tracker)]
    heat_map = run.figures["heat_map.png"].axes[0]
    np.testing.assert_allclose(np.array(heat_map.images[0].get_array()), np.reshape(errors[:6], (2, 3)), atol=1e-3)
    assert (heat_map.get_ylabel(), heat_map.get_xlabel()) == ("lr", "batch_size")
    best = int(run.tags["best_trial"])
    first = min(range(6), key=lambda number: errors[number])
    bars = run.figures["alpha.png"].axes[0].containers[0][0]
    np.testing.assert_allclose(bars.get_xdata(), [0.5, 1, 1.5])
    np.testing.assert_allclose(bars.get_ydata(), [errors[6], errors[first], errors[7]], atol=1e-3)
    for line, name in zip(run.figures["loss.png"].axes[0].lines, ("train_loss", "validation_loss"), strict=True):
        curve = [trials_of(tracker)[best].metrics[name, epoch] for epoch in (1, 2)]
        np.testing.assert_allclose(np.array(line.get_ydata()), curve)


def test_without_an_auxiliary_loss_there_is_one_step(make: Make) -> None:
    tracker, run = searched(make(GRID, model="mlp_ws", sampler="two-step"))
    assert len(trials_of(tracker)) == 6
    assert set(run.figures) == {"history.png", "heat_map.png", "loss.png"}
    assert all("digit error" not in row for row in rows_of(run))


@pytest.mark.parametrize(
    "constant", ["", "lr: {type: float, low: 1e-3, high: 1e-3}\n"], ids=["alone", "and a constant"]
)
def test_one_dimension_has_no_heat_map(make: Make, constant: str) -> None:
    space = f"{constant}epochs: {{type: choice, values: [1, 2]}}\n"
    tracker, run = searched(make(space, model="mlp_ws", sampler="two-step"))
    assert set(run.figures) == {"history.png", "loss.png"}
    assert [trial.tags.get("source") for trial in trials_of(tracker)] == ["read off trial 1", None]


@pytest.mark.parametrize("select", SELECTIONS)
def test_what_is_selected_decides_in_both_steps(make: Make, select: str) -> None:
    config = make(GRID + ALPHA, model="mlp_ws_al", sampler="two-step", select=select, folds=3)
    tracker, run = searched(config)
    trials = trials_of(tracker)
    scores = [error_of(trial, select) for trial in trials]
    assert config_of(trials[6]).replaced({"alpha": 1}) == config_of(trials[int(np.argmin(scores[:6]))])
    assert run.tags["best_trial"] == str(np.argmin(scores))
    shown = [row.get(select) for row in rows_of(run)]
    expected = [None] * 8 if select == "mean" else [f"{100 * score:.2f} %" for score in scores]
    assert shown == expected


def test_a_screening_tries_all_on_few_pairs_and_the_best_of_them_on_all(
    screened: tuple[MemoryTracker, MemoryRun],
) -> None:
    tracker, run = screened
    trials = trials_of(tracker)
    assert [trial.params["pairs"] for trial in trials] == ["20"] * 4 + ["60"] * 2
    shapes = [dict(config_of(trial).structure) for trial in trials]
    assert [(shape["nodes"], shape["layers"]) for shape in shapes[:4]] == [*itertools.product([4, 32], [1, 2])]
    ranked = sorted(range(4), key=lambda number: error_of(trials[number]))
    assert [config_of(trial) for trial in trials[4:]] == [config_of(trials[number]) for number in ranked[:2]]
    # Trained anew, on pairs of which each is validated once: errors are shares of them.
    assert {trial.tags.get("source") for trial in trials} == {None}
    for trial in trials:
        wrong = error_of(trial) * int(trial.params["pairs"])
        assert wrong == pytest.approx(round(wrong), abs=1e-3)
    assert all("on 20 pairs a round" in trial.description for trial in trials[:4])
    assert trained_in(run) == sorted(f"trial/{number}/round/0/fold/{fold}" for number in range(6) for fold in (0, 1))


def test_the_best_of_a_screening_was_tried_on_all_pairs(screened: tuple[MemoryTracker, MemoryRun]) -> None:
    tracker, run = screened
    later = trials_of(tracker)[4:]
    best = min(later, key=lambda trial: (error_of(trial), int(trial.tags["trial"])))
    assert run.tags["best_trial"] == best.tags["trial"]
    assert run.tags["config"] == best.tags["config"]
    assert run.metrics["cv_validation_error", 0] == best.metrics["cv_validation_error", 0]


def test_what_was_tried_on_few_pairs_is_never_the_best(sampling: Sampling, make: Make) -> None:
    splits = prepare.inputs(PrepareConfig(sampling=sampling))[0].splits

    def alike(seed: int) -> bool:
        """Whether four pairs have the same answer, which is learned without an error."""
        four = splits.train.gather(draw_samples("train", splits.train, 4, seed=seed, round_=0))
        return len(set(four["target"])) == 1

    easy = replace(sampling, samples=60, seed=next(filter(alike, itertools.count())))
    space = "lr: {type: choice, values: [0.005, 0.01]}\nepochs: {type: choice, values: [10]}\n"
    config = make(space, model="mlp_ws", sampling=easy, sampler="screen", screen_samples=4, keep=1)
    for _ in range(2):  # as it was found, and as it is read back
        tracker, run = searched(config)
        errors = [error_of(trial) for trial in trials_of(tracker)]
        assert errors[:2] == [0, 0]
        assert errors[2] > 0
        assert run.tags["best_trial"] == "2"
        assert run.metrics["cv_validation_error", 0] == pytest.approx(errors[2], abs=1e-4)


def test_the_table_of_a_screening_shows_pairs_and_digit_errors(screened: tuple[MemoryTracker, MemoryRun]) -> None:
    tracker, run = screened
    rows = rows_of(run)
    assert [row["samples"] for row in rows] == ["20"] * 4 + ["60"] * 2
    digits = [trial.metrics["cv_validation_digit_error", 0] for trial in trials_of(tracker)]
    assert [row["digit error"] for row in rows] == [f"{100 * error:.2f} %" for error in digits]
    for trial, error in zip(trials_of(tracker), digits, strict=True):
        assert error == trial.metrics["validation_digit_error", 3]
    assert {row["nodes"] for row in rows} == {"4", "32"}
    assert set(run.figures) == {"history.png"}


@pytest.mark.parametrize(("kind", "after"), [("two_step", (40, 90, 98)), ("screen", (40, 90, 50))])
def test_a_search_that_dies_now_and_then_ends_as_one_that_ran_through(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, after: tuple[int, ...]
) -> None:
    config = request.getfixturevalue(kind)
    whole, _ = request.getfixturevalue({"two_step": "in_two_steps", "screen": "screened"}[kind])
    mortal = replace(config, storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert table_of(search_with_deaths(mortal, after)) == table_of(whole)


def test_all_pairs_are_as_many_as_the_training_pool_has(all_of_few: Sampling, make: Make) -> None:
    tracker, run = searched(
        make(LAYERS, model="linear_digits", sampling=all_of_few, sampler="screen", screen_samples=10, keep=1)
    )
    assert run.params["pairs"] == "all"
    assert [trial.params["pairs"] for trial in trials_of(tracker)] == ["10"] * 4 + ["all"]
    assert [row["samples"] for row in rows_of(run)] == ["10"] * 4 + ["20"]
    wrong = 20 * error_of(trials_of(tracker)[4])
    assert wrong == pytest.approx(round(wrong), abs=1e-3)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"folds": 21, "pruner": "none"}, "must lie between 2 and the 20 samples of a round, but got 21"),
        (
            {"sampler": "screen", "screen_samples": 21},
            "no more samples than .* but got --screen-samples 21 and --train-size 20",
        ),
    ],
)
def test_all_pairs_may_be_too_few(all_of_few: Sampling, make: Make, change: dict[str, Any], rule: str) -> None:
    config = make(GRID, model="mlp_ws", sampling=all_of_few)
    space = Path(str(config.space))
    space.write_text(space.read_text().replace("[2]", "[2, 25]").replace("40]", "25]"))
    tracker = MemoryTracker()
    with pytest.raises(InputError, match=rule):
        search.run(replace(config, **change), tracker, Silent())
    assert tracker.runs == []


def test_when_every_combination_diverges_the_search_fails(make: Make) -> None:
    space = "lr: {type: choice, values: [50, 100]}\noptimiser: {type: choice, values: [sgd]}\n"
    tracker = MemoryTracker()
    config = make(space + ALPHA, model="mlp_ws_al", sampler="two-step")
    with pytest.raises(StageError, match=r"no trial of study .* could be completed"):
        search.run(config, tracker, Silent())
    assert len(trials_of(tracker)) == 2
    assert {run.status for run in tracker.runs} == {"FAILED"}


def test_cells_of_a_grid_that_failed_are_tried_once_more_with_other_weights(make: Make) -> None:
    space = "lr: {type: choice, values: [100, 0.005, 50]}\noptimiser: {type: choice, values: [sgd]}\n"
    tracker, run = searched(make(space + "epochs: {type: choice, values: [2]}\n", sampler="grid"))
    trials = trials_of(tracker)
    assert [trial.params["lr"] for trial in trials] == ["100.0", "0.005", "50.0", "100.0", "50.0"]
    assert [trial.status for trial in trials] == ["FAILED", "FINISHED", "FAILED", "FAILED", "FAILED"]
    assert all("source" not in trial.tags for trial in trials)
    assert trained_in(run) == sorted(f"trial/{number}/round/0/fold/{fold}" for number in range(5) for fold in (0, 1))
    assert run.tags["best_trial"] == "1"
    assert len(trials_of(searched(make(space, sampler="grid", n_trials=1))[0])) == 5


def test_a_grid_is_all_combinations_that_its_constraints_admit(make: Make) -> None:
    space = GRID + "constraints:\n  - lr * batch_size <= 0.1\n"
    tracker, run = searched(make(space, model="mlp_ws", sampler="grid"))
    tried = [(config_of(trial).lr, config_of(trial).batch_size) for trial in trials_of(tracker)]
    assert tried == [(0.001, 10), (0.001, 20), (0.001, 40), (0.005, 10), (0.005, 20)]
    assert set(run.figures) == {"history.png"}
