"""A search for two things at once: the error, and what a model costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.tasks.registry import get_variant
from pipeline.training.cost import nominal_seconds
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import Make, config_of, rows_of, searched, trials_of

LAYERS = """
nodes: {type: int, low: 4, high: 32, default: 8}
layers: {type: choice, values: [1, 2], default: 1}
epochs: {type: choice, values: [3], default: 3}
"""
TIME = """
lr: {type: float, low: 1e-4, high: 1e-2, log: true}
epochs: {type: choice, values: [1, 2, 4], default: 2}
batch_size: {type: choice, values: [10, 30, 25]}
"""
SEARCHES: dict[str, dict[str, Any]] = {
    "parameters": {"space": LAYERS, "model": "linear_digits"},
    "time": {"space": TIME, "trade_off": "time"},
}


@pytest.fixture(scope="module", params=SEARCHES)
def found(request: pytest.FixtureRequest, make: Make) -> tuple[str, MemoryTracker, MemoryRun]:
    """What is minimised, and a search of thirteen trials."""
    return request.param, *searched(make(**SEARCHES[request.param], sampler="nsga2", n_trials=13, recheck=2))


def objectives_of(run: MemoryRun, cost: str) -> tuple[float, float]:
    """Error and cost of a trial."""
    return run.metrics["cv_validation_error", 0], run.metrics[f"objective_{cost}", 0]


def test_what_a_trial_costs_is_logged(found: tuple[str, MemoryTracker, MemoryRun]) -> None:
    cost, tracker, run = found
    assert run.params["trade_off"] == cost
    variant = get_variant(run.params["model"])
    for trial in trials_of(tracker):
        hyper = config_of(trial)
        expected = variant.count(hyper.structure) if cost == "parameters" else nominal_seconds(variant, hyper, 30)
        assert objectives_of(trial, cost)[1] == pytest.approx(expected)
    assert len({objectives_of(trial, cost) for trial in trials_of(tracker)}) > 3


def test_the_front_is_what_no_other_trial_is_better_than_in_both(found: tuple[str, MemoryTracker, MemoryRun]) -> None:
    cost, tracker, run = found
    points = [objectives_of(trial, cost) for trial in trials_of(tracker)]
    best = {point for point in points if not any(dominates(other, point) for other in points)}
    shown = [points[int(row["trial"])] for row in rows_of(run, "front.csv")]
    assert set(shown) == best
    assert len(shown) == len(best) > 1
    assert shown == sorted(shown, key=lambda point: point[1])


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one is at least as good in both, and better in one of them."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def test_the_front_is_drawn_and_is_the_table_that_is_shown(found: tuple[str, MemoryTracker, MemoryRun]) -> None:
    cost, tracker, run = found
    [axis] = run.figures["front.png"].axes
    assert cost in axis.get_xlabel()
    every, front = axis.lines
    assert np.size(every.get_xdata()) == len({trial.tags["config"] for trial in trials_of(tracker)})
    rows = rows_of(run, "front.csv")
    assert np.size(front.get_xdata()) == len(rows)
    for row in rows[:5]:
        assert f"| {row['trial']} " in run.description
        assert cost in row


def test_no_trial_is_pruned_and_the_best_is_by_error(found: tuple[str, MemoryTracker, MemoryRun]) -> None:
    _, tracker, run = found
    assert run.params["pruner"] == "none"
    assert {trial.status for trial in trials_of(tracker)} == {"FINISHED"}
    again = {trial.tags["trial"]: trial.metrics.get(("cv_recheck", 0)) for trial in trials_of(tracker)}
    known = {number: error for number, error in again.items() if error is not None}
    assert known[run.tags["best_trial"]] == min(known.values())
