"""A search ends at its budget or its timeout, and goes on when there is more."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.errors import StageError
from pipeline.stages.searching import clock
from pipeline.stages.searching.config import SearchConfig
from tests.memory import MemoryTracker
from tests.stages.runs import Make, runs_with, searched, table_of, trials_of

SPACE = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nepochs: {type: choice, values: [2, 25], default: 2}\n"
NOTHING = 1e-6
"""Seconds that every batch takes."""


@pytest.fixture(scope="module")
def config(make: Make) -> SearchConfig:
    return make(SPACE, n_trials=7, population=3)


@pytest.fixture(scope="module")
def whole(config: SearchConfig) -> MemoryTracker:
    tracker, _ = searched(replace(config, study="ran through"))
    return tracker


def test_the_budget_of_a_study_ends_it_after_a_batch_and_more_goes_on(
    config: SearchConfig, whole: MemoryTracker
) -> None:
    little = replace(config, study="on a budget", budget=NOTHING)
    tracker, run = searched(little)
    assert len(trials_of(tracker)) == 3
    assert "It stopped at --budget 0.0 s, after 3 of 7 trials; the same command with more goes on." in run.description
    tracker, _ = searched(little, tracker)  # it is the budget of all starts together
    assert len(trials_of(tracker)) == 3
    tracker, run = searched(replace(little, budget=3600.0), tracker)
    assert "--budget" not in run.description
    assert table_of(tracker) == table_of(whole)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of a search that is a second further on whenever it is read."""
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=itertools.count().__next__))


@pytest.mark.usefixtures("ticking")
def test_the_timeout_of_a_start_ends_it_after_a_batch_and_the_next_start_goes_on(
    config: SearchConfig, whole: MemoryTracker
) -> None:
    hasty = replace(config, study="in haste", timeout=2.0)
    done = []
    tracker = MemoryTracker()
    for _ in range(3):
        tracker, run = searched(hasty, tracker)
        done.append(len(trials_of(tracker)))
        ended = "It stopped at --timeout 2.0 s, after" in run.description
        assert ended == (done[-1] < 7)
    assert done == [3, 6, 7]
    assert table_of(tracker) == table_of(whole)


@pytest.mark.parametrize("limit", [{"timeout": NOTHING}])
def test_a_search_that_may_not_even_begin_says_so(config: SearchConfig, limit: dict[str, Any]) -> None:
    tracker = MemoryTracker()
    with pytest.raises(StageError, match=r"could be completed: stopped at --timeout 0.0 s, after 0 of 7 trials"):
        searched(replace(config, study="not begun", **limit), tracker)
    assert [run.status for run in runs_with(tracker, "search")] == ["FAILED"]
